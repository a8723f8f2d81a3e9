"""Limits of a tenant: rate limit, budget and backlog caps, as values for the claim and submit scripts.

No Redis here: a lane, which holds a PIN, reads them with its tenant's file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.protocol.signing_costs import cost_where_unnamed

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCaps:
    """Backlog caps, and the budget of a UTC day, for the submit script; 0: no limit."""

    backlog_digests: int = 0
    backlog_bytes: int = 0
    budget_digests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLimits:
    """Limits of a tenant's claims over all workers; 0: no limit. Costs are in units (``queueing.protocol.signing_costs``).

    ``backlog_*``: caps; what waits beyond twice as much is claimed to be refused. ``costs``: units per digest, by
    algorithm; the dearest of them counts where a job names none.
    """

    rate_per_s: float = 0.0
    burst: float = 0.0
    budget_digests: int = 0
    backlog_digests: int = 0
    backlog_bytes: int = 0
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def limited(self) -> bool:
        """Whether claims are charged at all."""
        return bool(self.rate_per_s or self.budget_digests)

    def script_args(self) -> tuple[tuple[int, ...], tuple[str | int, ...]]:
        """Arguments of the claim script before and after what is owed; units become thousandths."""
        limits = (milli(self.rate_per_s), milli(self.burst), self.budget_digests)
        costs: tuple[str | int, ...] = (0,)
        if self.rate_per_s:
            named = (arg for name, cost in self.costs.items() for arg in (name, milli(cost)))
            costs = (milli(cost_where_unnamed(self.costs)), *named)
        return (*limits, self.backlog_digests, self.backlog_bytes), costs


NO_LIMITS: Final = ClaimLimits()


def milli(units: float) -> int:
    """Thousandths of a unit, rounded up: the script counts in whole numbers."""
    return math.ceil(units * 1000 - 1e-6)
