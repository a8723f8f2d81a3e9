"""Weighted fair queueing over tenants at the claim. Pure: no clock, no I/O.

Each tenant has a virtual time: the cost that it was served so far, divided by its weight. The units of a round go to
the tenants that are furthest behind until all are level, and are then shared by weight. Costs are in units
(``queueing.protocol.signing_costs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT: Final = 64
"""Entries that are kept for tenants without work, before any is dropped."""


class TenantWeights(Protocol):
    """Weights in force (``RateLimiter``)."""

    def weight(self, tenant: str) -> float:
        """The tenant's weight, above 0."""


class FairShares:
    """Virtual times of the tenants. Weights are read at each round: one may change while its tenant waits.

    A tenant without work gains nothing by it: its time is set to that of the last round. One that could not be served
    for another reason (its lanes were full) is at most one round behind the foremost, so that it does not take
    everything when it can be served.
    """

    def __init__(self, weights: TenantWeights) -> None:
        self._weights = weights
        self._served: dict[str, float] = {}
        self._round_began_at = 0.0

    def allot(self, wants: Mapping[str, float], units: float) -> dict[str, float]:
        """Divide ``units`` among tenants, each at most what it wants; in the order of service, furthest behind first.

        O(tenants * log(tenants)).
        """
        if not wants:
            return {}
        weights = {tenant: self._weights.weight(tenant) for tenant in wants}
        foremost = max((self._served.get(tenant, 0.0) for tenant in wants), default=0.0)
        least = max(self._round_began_at, foremost - units / min(weights.values()))
        starts = {tenant: max(self._served.get(tenant, 0.0), least) for tenant in wants}
        self._served.update(starts)
        self._round_began_at = min(starts.values())
        self._forget(wants)
        level = _level(wants, starts, weights, units)
        order = sorted(wants, key=starts.__getitem__)
        return {
            tenant: min(wants[tenant], max(level - starts[tenant], 0.0) * weights[tenant]) for tenant in order
        }

    def charge(self, tenant: str, cost: float) -> None:
        """Count ``cost`` units as served to the tenant."""
        served = max(self._served.get(tenant, 0.0), self._round_began_at)
        self._served[tenant] = served + cost / self._weights.weight(tenant)

    def _forget(self, wants: Mapping[str, float]) -> None:
        """Drop tenants that are not ahead of the round's start: without an entry they begin there."""
        if len(self._served) > 2 * len(wants) + _KEPT:
            self._served = {t: v for t, v in self._served.items() if v > self._round_began_at or t in wants}


def _level(
    wants: Mapping[str, float], starts: Mapping[str, float], weights: Mapping[str, float], units: float
) -> float:
    """The virtual time up to which all can be served with ``units``.

    The units taken grow with that time, piecewise linearly: between two tenants' starts or ends the slope is the sum of
    the weights of the tenants that are served there.
    """
    steps = [(starts[t], weights[t]) for t in wants]
    steps += [(starts[t] + wants[t] / weights[t], -weights[t]) for t in wants]
    steps.sort()
    at, slope, left = steps[0][0], 0.0, units
    for where, change in steps:
        taken = (where - at) * slope
        if taken >= left and slope > 0:
            return at + left / slope
        left -= taken
        at, slope = where, slope + change
    return at
