"""Faults of the clock of all lanes: steps ahead and back by an hour and by years, which are undone.

The clocks of workers and Redis are those of the observers' histories, and stay; so is that of the simulated HSM's log, which
asks the kernel. ``tests/integration/worker`` has steps of all clocks.
"""

from __future__ import annotations

import asyncio

from tests.faults.injections.scene import Injection, Scene
from tests.faults.injections.schedule import Draw

HOUR_S = 3600
YEARS_S = 3 * 365 * 86_400


def _step(seconds: int) -> Injection:
    async def step(scene: Scene, draw: Draw) -> None:
        scene.harness.lane_clock.set_ahead_s(seconds)
        await asyncio.sleep(draw.hold_s)
        scene.harness.lane_clock.set_ahead_s(0)

    return step


hour_ahead, years_ahead = _step(HOUR_S), _step(YEARS_S)
hour_back, years_back = _step(-HOUR_S), _step(-YEARS_S)
