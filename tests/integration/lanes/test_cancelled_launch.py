"""A lane that is being started when its worker gives up leaves neither process nor socket."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.support.cancelling import cancelled_at, nothing_unclosed
from tests.support.rig.processes import children
from workers.config.settings import SelectSettings, TokenSettings
from workers.lanes.supervisor.spawn import LaneSpec, LaneStream, spawn_or_connect

MOST_WAITS = 20


async def test_a_launch_that_is_cancelled_at_any_wait_leaves_nothing(tmp_path: Path) -> None:
    """Cancelled while it spawns and while it opens the stream, it leaves no process and no socket."""
    settings = TokenSettings(module="/m.so", select=SelectSettings(label="acme"), login="none")
    spec = LaneSpec(file=tmp_path / "f", token="acme", tenant="acme", settings=settings, sessions=1)
    before = set(children(os.getpid()))
    opened: list[LaneStream] = []

    async def launch() -> None:
        opened.append(await spawn_or_connect(spec))

    met, wait = True, 0
    while met:
        wait += 1
        assert wait < MOST_WAITS
        with nothing_unclosed():
            met = await cancelled_at(wait, launch())
            while opened:
                lane = opened.pop()
                lane.kill()
                await lane.ended()
                del lane
            await asyncio.sleep(0)
        assert before.issuperset(children(os.getpid())), wait
    assert wait > 2, "it was cancelled while it spawned, and while it opened the stream"
