"""Times at which the tenants' builds ask: independent of each other, at the rates of the day's curve, repeatable by seed.

Each tenant has its own random numbers, so a tenant asks at the same moments whichever others there are. Pure functions.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from bench.day.curve import Phase, moment_of


class Asking(Protocol):
    """A tenant that asks at random times."""

    @property
    def name(self) -> str:
        """The tenant's name."""

    @property
    def builds_per_s(self) -> float:
        """Requests a second, at the mean."""


def builds_of(tenant: Asking, phases: Sequence[Phase], seed: int) -> Iterator[float]:
    """Moments of one tenant's requests, in seconds from the start: a Poisson process whose rate follows the curve."""
    generator = random.Random(f"{seed}/{tenant.name}")
    mean_s = 0.0
    while True:
        mean_s += generator.expovariate(tenant.builds_per_s)
        at_s = moment_of(phases, mean_s)
        if at_s is None:
            return
        yield at_s


def arrivals(tenants: Iterable[Asking], phases: Sequence[Phase], seed: int) -> Iterator[tuple[float, str]]:
    """Moment and tenant of every request, in order."""
    return heapq.merge(*(_named(tenant, phases, seed) for tenant in tenants))


def due_by(
    moments: Iterable[float], tenants: Mapping[str, int], all_arrivals: Iterable[tuple[float, str]]
) -> list[int]:
    """Digests that are due by each of these ascending moments; ``tenants``: digests of a request by name."""
    found, due = [], 0
    waiting = iter(all_arrivals)
    following = next(waiting, None)
    for moment in moments:
        while following is not None and following[0] <= moment:
            due += tenants[following[1]]
            following = next(waiting, None)
        found.append(due)
    return found


def comers(tenants: Iterable[Asking], phases: Sequence[Phase], seed: int) -> set[str]:
    """Tenants that ask at all within the compressed day."""
    return {tenant.name for tenant in tenants if next(builds_of(tenant, phases, seed), None) is not None}


def _named(tenant: Asking, phases: Sequence[Phase], seed: int) -> Iterator[tuple[float, str]]:
    return ((at_s, tenant.name) for at_s in builds_of(tenant, phases, seed))
