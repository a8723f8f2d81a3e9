"""Faults of the reader of a worker's stderr: it stops reading, or is killed. The worker continues; lines are dropped and counted."""

from __future__ import annotations

import contextlib

from tests.faults.harness.harness import eventually
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw

OVERFLOWS_WITHIN_S = 10.0
_DROPPED = "sigmill_log_lines_dropped_total"


async def _hold(scene: Scene, draw: Draw) -> None:
    """Until the worker drops lines, where that comes soon, and goes on."""
    worker = scene.harness.workers[draw.worker]
    before = worker.metric(_DROPPED)
    with contextlib.suppress(AssertionError):
        await eventually(lambda: worker.metric(_DROPPED) > before, "it drops", within_s=OVERFLOWS_WITHIN_S)
    await scene.hold(draw.hold_s, workers=[draw.worker])


async def reader_stopped(scene: Scene, draw: Draw) -> None:
    """The pipe is full after some lines, then the worker's queue."""
    reader = scene.harness.rig.readers[draw.worker]
    reader.stop()
    await _hold(scene, draw)
    reader.resume()


async def reader_killed(scene: Scene, draw: Draw) -> None:
    """Each write fails until another reader is there."""
    reader = scene.harness.rig.readers[draw.worker]
    reader.kill()
    await _hold(scene, draw)
    reader.start_again()
