"""Where a lane runs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def cpu_for_lane(most_lanes: int, allowed: Collection[int], taken: Iterable[int | None]) -> int | None:
    """The CPU of the next lane; None leaves it to the kernel.

    A token with a lane for each CPU has each on its own: the interpreter's lock is then never handed from one
    CPU to another (a fifth of the CPU time per signature on a network HSM, 4 % with SoftHSM's RSA). With fewer
    or more lanes than CPUs a pinned lane could wait while a CPU is idle.
    """
    if most_lanes != len(allowed) or most_lanes < 2:
        return None
    free = sorted(set(allowed) - {cpu for cpu in taken if cpu is not None})
    return free[0] if free else None
