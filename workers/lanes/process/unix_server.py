"""Host-started lane: listens at a unix socket and serves only the worker's uid."""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
from pathlib import Path

from queueing.errors import ConfigError
from workers.config.service_file import load_service
from workers.lanes.process.lane import Lane
from workers.lanes.process.login import LaneRole

log = logging.getLogger("sigmill.lane")


def serve_host_lane(
    file: Path, *, token: str, tenant: str | None, listen_at: Path | None, own_state: Path | None
) -> None:
    """Wait for the worker, serve it, and return when it hangs up: the next worker gets a new process.

    Raises ``ConfigError`` when the token is not configured to be reached like this.
    """
    service = load_service(file)
    settings = service.tokens.get(token)
    if settings is None:
        raise ConfigError(str(file), f"tokens.{token}", "no such token", f"Add [tokens.{token}].")
    place = str(listen_at) if listen_at is not None else settings.socket
    if place is None:
        raise ConfigError(str(file), f"tokens.{token}.socket", "is missing", "Name the socket to listen at.")
    worker_uid = os.getuid() if settings.worker_uid is None else settings.worker_uid
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it reads its files when a worker comes
    role = LaneRole(file=file, token=token, tenant=tenant, own_state=own_state)
    lane = Lane(role, _accept(place, worker_uid))
    signal.signal(signal.SIGHUP, lambda *_: lane.reload() and None)
    lane.serve()


def _accept(place: str, worker_uid: int) -> socket.socket:
    """Accept the first connection of the worker's uid (unix(7), SO_PEERCRED); others are closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        Path(place).unlink(missing_ok=True)
        listener.bind(place)
        # The peer's uid decides, not the mode: worker and lane need not share a group.
        Path(place).chmod(0o666)
        listener.listen(4)
        while True:
            connection, _ = listener.accept()
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid == worker_uid:
                return connection
            log.warning("lane.stranger", extra={"uid": uid})
            connection.close()
