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
from workers.host_socket import bind_at
from workers.lanes.process.lane import Lane
from workers.lanes.process.login import LaneRole

log = logging.getLogger("sigmill.lane")


def serve_host_lane(
    file: Path, *, token: str, tenant: str | None, listen_at: Path | None, own_state: Path | None
) -> None:
    """Wait for the worker, serve it, and return when it hangs up: the next worker gets a new process.

    Raises ``ConfigError`` when the token is not configured to be reached like this, or its socket cannot be bound.
    """
    service = load_service(file)
    settings = service.tokens.get(token)
    if settings is None:
        raise ConfigError(str(file), f"tokens.{token}", "no such token", f"Add [tokens.{token}].")
    setting = f"tokens.{token}.socket"
    place = str(listen_at) if listen_at is not None else settings.socket
    if place is None:
        raise ConfigError(str(file), setting, "is missing", "Name the socket to listen at.")
    worker_uid = os.getuid() if settings.worker_uid is None else settings.worker_uid
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it reads its files when a worker comes
    role = LaneRole(file=file, token=token, tenant=tenant, own_state=own_state)
    with bind_at(Path(place), socket.SOCK_STREAM, file=str(file), key=setting) as listener:
        connection = _accept(listener, worker_uid)
    lane = Lane(role, connection)
    signal.signal(signal.SIGHUP, lambda *_: lane.reload() and None)
    lane.serve()


def _accept(listener: socket.socket, worker_uid: int) -> socket.socket:
    """Accept the first connection of the worker's uid (unix(7), SO_PEERCRED); others are closed."""
    listener.listen(4)
    while True:
        connection, _ = listener.accept()
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid == worker_uid:
            return connection
        log.warning("lane.stranger", extra={"uid": uid})
        connection.close()
