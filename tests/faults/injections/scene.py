"""Scene of a fault, and its leftovers."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tests.faults.harness.harness import Harness, eventually
from tests.faults.harness.load import Builds
from tests.faults.injections.schedule import Draw
from tests.support.rig.rig import command_of

FROZEN_S = 20.0


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

    async def aftermath(self) -> None:
        """Wait for the end of what was left frozen, which later jobs would meet: it is no other fault's matter."""
        for pid in self.frozen:
            with contextlib.suppress(AssertionError):  # it is found only by work that is sent to it
                await eventually(partial(_has_ended, pid), "it was ended", within_s=FROZEN_S)


def _has_ended(pid: int) -> bool:
    return not command_of(pid)


Injection = Callable[[Scene, Draw], Awaitable[None]]
"""Does the fault and heals it."""
