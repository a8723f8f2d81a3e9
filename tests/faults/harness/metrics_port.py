"""Metrics port of a worker as seen from outside while it is abused: connections that the process has accepted, and a scrape."""

from __future__ import annotations

import asyncio
import http.client
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.history import PortAbused, Recorder
from tests.support.rig.rig import WorkerProcess

LOOK_S = 0.1
ANSWERED_WITHIN_S = 15.0
_STATES = {"01", "08"}
"""Established, and half closed by the peer (include/net/tcp_states.h)."""


@dataclass(slots=True)
class MetricsPort:
    """``watch`` it, ask for a page by ``answered``, then ``note`` what was seen."""

    name: str
    worker: WorkerProcess
    recorder: Recorder
    most: int = 0
    status: int = 0

    async def watch(self) -> None:
        """For ever: the most connections at a time."""
        while True:
            accepted = await asyncio.to_thread(accepted_on, self.worker.port)
            self.most = max(self.most, accepted)
            await asyncio.sleep(LOOK_S)

    async def answered(self) -> None:
        """Ask for the metrics until they are served, or the time is over."""
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while self.status != http.client.OK and time.monotonic() < deadline:
            self.status, _ = await asyncio.to_thread(self.worker.get, "/metrics")

    def note(self) -> None:
        """Write down what was seen."""
        self.recorder.note(
            PortAbused(at=time.time(), worker=self.name, connections=self.most, status=self.status)
        )


def accepted_on(port: int) -> int:
    """Connections to this port of 127.0.0.1 that a process had accepted at one moment.

    The table is no snapshot; but a connection that is in it twice was there in between.
    """
    return len(_accepted(port) & _accepted(port))


def _accepted(port: int) -> set[str]:
    """Inodes of the connections; those that still wait to be accepted have none."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_rest = words = line.split()
        if int(local.rpartition(":")[2], 16) == port and state in _STATES and words[9] != "0":
            found.add(words[9])
    return found
