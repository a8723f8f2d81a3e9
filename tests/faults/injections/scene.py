"""Scene of a fault, and its leftovers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tests.faults.harness.harness import Harness, eventually
from tests.faults.harness.load import Builds
from tests.faults.injections.schedule import Draw
from tests.support.rig.processes import command_of

FROZEN_S = 20.0
GOES_ON_S = 20.0
"""Far longer than a job takes on a busy machine."""


@dataclass(slots=True)
class Scene:
    """Scene of a fault; it may name digests that the module breaks at, or refuses, and processes that it left
    frozen, for others to end."""

    harness: Harness
    load: Builds
    rng: Random
    breaks: list[bytes] = field(default_factory=list)
    refuses: list[bytes] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)
    in_full_at: float = 0.0
    over_at: float = 0.0
    tenants_go_on: list[str] = field(default_factory=list)
    workers_go_on: list[str] = field(default_factory=list)

    async def hold(
        self, hold_s: float = 0.0, *, tenants: Sequence[str] = (), workers: Sequence[int] = ()
    ) -> None:
        """Hold the fault so long, and until each of these tenants has had a job signed that was submitted meanwhile, and each
        of these workers has committed one that it claimed meanwhile; no longer than ``GOES_ON_S``.

        Those that had none by then are found by the checker.
        """
        self.in_full_at = since = time.time()
        self.tenants_go_on += tenants
        self.workers_go_on += [f"worker-{number}" for number in workers]

        def go_on() -> bool:
            return all(self.load.newest.get(tenant, 0.0) > since for tenant in tenants) and all(
                self.harness.committed_since(number, since) for number in workers
            )

        with contextlib.suppress(AssertionError):
            await eventually(go_on, "the others go on", within_s=GOES_ON_S)
        await asyncio.sleep(max(hold_s - (time.time() - since), 0.0))
        self.over_at = time.time()

    async def aftermath(self) -> None:
        """Wait for the end of what was left frozen, which later jobs would meet: it is no other fault's matter."""
        for pid in self.frozen:
            with contextlib.suppress(AssertionError):  # it is found only by work that is sent to it
                await eventually(partial(_has_ended, pid), "it was ended", within_s=FROZEN_S)


def _has_ended(pid: int) -> bool:
    return not command_of(pid)


Injection = Callable[[Scene, Draw], Awaitable[None]]
"""Does the fault and heals it."""
