"""Weighted fair queueing over tenants at the claim. Pure: no clock, no I/O.

Each tenant has a virtual time: what it was served so far, divided by its weight. A round's budget goes to those that
are furthest behind until all are level, and is then shared by weight. Costs are in units (``queueing.protocol.signing_costs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEPT: Final = 64
"""Tenants that are remembered beyond those that have work."""


class FairShares:
    """The virtual times. ``weight_of`` is asked at each round: a weight may change while tenants wait.

    Who had no work gains nothing by it: its time is set to that of the last round. Who could not be served for
    another reason (its own lanes were full) is at most one round's budget behind the foremost, so that it does not
    take everything when it can.
    """

    def __init__(self, weight_of: Callable[[str], float]) -> None:
        self._weight_of = weight_of
        self._served: dict[str, float] = {}
        self._round_began_at = 0.0

    def allot(self, wants: Mapping[str, float], budget: float) -> dict[str, float]:
        """What each tenant may be served in this round, at most what it wants and ``budget`` in all.

        In the order of service, those that are furthest behind first. O(tenants * log(tenants)).
        """
        if not wants:
            return {}
        weights = {tenant: self._weight_of(tenant) for tenant in wants}
        foremost = max((self._served.get(tenant, 0.0) for tenant in wants), default=0.0)
        least = max(self._round_began_at, foremost - budget / min(weights.values()))
        starts = {tenant: max(self._served.get(tenant, 0.0), least) for tenant in wants}
        self._served.update(starts)
        self._round_began_at = min(starts.values())
        self._forget(wants)
        level = _level(wants, starts, weights, budget)
        order = sorted(wants, key=starts.__getitem__)
        return {
            tenant: min(wants[tenant], max(level - starts[tenant], 0.0) * weights[tenant]) for tenant in order
        }

    def charge(self, tenant: str, cost: float) -> None:
        """The tenant was served."""
        served = max(self._served.get(tenant, 0.0), self._round_began_at)
        self._served[tenant] = served + cost / self._weight_of(tenant)

    def _forget(self, wants: Mapping[str, float]) -> None:
        """Those that are no further than the round's start need no entry."""
        if len(self._served) > 2 * len(wants) + _KEPT:
            self._served = {t: v for t, v in self._served.items() if v > self._round_began_at or t in wants}


def _level(
    wants: Mapping[str, float], starts: Mapping[str, float], weights: Mapping[str, float], budget: float
) -> float:
    """The virtual time up to which all can be served: where what they take together is the budget.

    It is a broken line that only rises: between two tenants' start or end, its slope is the sum of the weights of
    those that are served there.
    """
    steps = [(starts[t], weights[t]) for t in wants]
    steps += [(starts[t] + wants[t] / weights[t], -weights[t]) for t in wants]
    steps.sort()
    at, slope, left = steps[0][0], 0.0, budget
    for where, change in steps:
        taken = (where - at) * slope
        if taken >= left and slope > 0:
            return at + left / slope
        left -= taken
        at, slope = where, slope + change
    return at
