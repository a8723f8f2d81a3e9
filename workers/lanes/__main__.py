"""``python -m workers.lanes``: a lane that the worker starts. Its arguments contain no secret."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from queueing.errors import ConfigError
from queueing.garbage_collection import collect_less_often
from workers.hsm.process_hardening import die_with_parent, harden

log = logging.getLogger("sigmill.lane")


def main(arguments: list[str]) -> int:
    """Serve the connection with the given descriptor, as a child of the worker."""
    collect_less_often()
    parser = argparse.ArgumentParser(prog="sigmill-lane")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--tenant")
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--log-fd", type=int, default=2)
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--state-dir", type=Path)
    given = parser.parse_args(arguments)
    harden()
    die_with_parent(given.parent)
    if given.cpu is not None:
        os.sched_setaffinity(0, {given.cpu})

    # Imported after the hardening: what follows loads the PKCS#11 binding.
    from workers.lanes.exit_codes import LaneExit
    from workers.lanes.process.lane import Lane
    from workers.lanes.process.login import LaneRole
    from workers.telemetry.json_logs import log_to_stderr

    os.set_inheritable(given.log_fd, False)
    log_to_stderr(descriptor=given.log_fd)
    role = LaneRole(
        file=given.config,
        token=given.token,
        tenant=given.tenant,
        sessions=given.sessions,
        state_dir=given.state_dir,
    )
    try:
        lane = Lane(role, socket.socket(fileno=given.fd))
        signal.signal(signal.SIGHUP, lambda *_: lane.reload() and None)
        lane.serve()
    except ConfigError as error:
        log.error("lane.config", extra={"token": given.token, "why": str(error), "hint": error.remedy})
        return LaneExit.CONFIG
    return LaneExit.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
