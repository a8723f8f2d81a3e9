"""An issuer's lane that cannot be started, or whose front gives up meanwhile, leaves neither process nor socket."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.cancelling import cancelled_at, nothing_unclosed
from tests.support.issuer.bad_tokens import CI
from tests.support.issuer.site import IssuerSite
from tests.support.rig.processes import children
from tests.support.waiting import turn, until_async
from workers.issuer.lane_client import LaneClient

MOST_WAITS = 20


@pytest.fixture
def client(tmp_path: Path) -> LaneClient:
    site = IssuerSite(tmp_path, CI)
    site.write()
    return LaneClient(site.configuration())


async def test_a_lane_that_cannot_be_started_leaves_no_socket(
    client: LaneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front tries again and again: it would end with too many open files."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with nothing_unclosed(), pytest.raises(FileNotFoundError):
        await client._open()


async def test_a_start_that_is_cancelled_at_any_wait_leaves_nothing(
    client: LaneClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it spawns, and while it opens the connection."""
    monkeypatch.setattr(sys, "executable", "/bin/true")
    before = set(children(os.getpid()))

    async def start() -> None:
        _, writer, process = await client._open()
        writer.close()
        assert process is not None
        await process.wait()

    met, wait = True, 0
    while met:
        wait += 1
        assert wait < MOST_WAITS
        with nothing_unclosed():
            met = await cancelled_at(wait, start())
            await until_async(
                lambda: before.issuperset(children(os.getpid())), f"no process is left of wait {wait}"
            )
            await turn()  # the loop closes what it had of the process
    assert wait > 2, "it was cancelled while it spawned, and while it opened the connection"
