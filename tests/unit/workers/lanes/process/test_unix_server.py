"""Host-started lane: the processes that it serves."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from workers.lanes.process.unix_server import _accept

if TYPE_CHECKING:
    import socket

WORKER_UID = 4711


@dataclass
class Connection:
    """Connection of a process of this uid, as the kernel tells it (SO_PEERCRED)."""

    uid: int
    closed: bool = False

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack("3i", 1, self.uid, self.uid)

    def close(self) -> None:
        self.closed = True


@dataclass
class Listener:
    """Unix socket to which these connect, one after the other."""

    waiting: list[Connection]
    asked: list[Connection] = field(default_factory=list)

    def listen(self, backlog: int) -> None:
        pass

    def accept(self) -> tuple[Connection, str]:
        self.asked.append(self.waiting.pop(0))
        return self.asked[-1], ""


@pytest.mark.parametrize("stranger", [0, WORKER_UID - 1, os.getuid()])
def test_a_lane_serves_the_workers_uid_alone(stranger: int) -> None:
    """Every connection but the worker's is closed, also one of root or of the lane's own user."""
    strangers, worker = [Connection(stranger), Connection(stranger)], Connection(WORKER_UID)
    accepted: object = _accept(cast("socket.socket", Listener([*strangers, worker])), WORKER_UID)
    assert accepted is worker
    assert [each.closed for each in strangers] == [True, True]
    assert not worker.closed
