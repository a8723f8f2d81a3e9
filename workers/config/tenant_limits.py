"""Limits of a tenant over all workers: rate limit, budget, backlog caps, and its weight relative to other tenants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queueing.protocol.limits import NO_LIMITS, ClaimLimits, PublishedCaps
from queueing.protocol.signing_costs import costs_by_algorithm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueing.protocol.algorithms import KeyKind
    from workers.config.settings import LimitsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimits:
    """Limits of a tenant: ``claim`` for the claim script, ``caps`` for the submit script, both over all workers.

    ``weight`` is the tenant's share while other tenants have work, too.
    """

    claim: ClaimLimits = NO_LIMITS
    caps: PublishedCaps = field(default_factory=PublishedCaps)
    weight: float = 1.0


def limits_of(settings: LimitsSettings, kinds: Iterable[KeyKind]) -> TenantLimits:
    """Limits of a tenant with keys of these kinds. The default burst is one second of the rate."""
    rate_per_s = settings.rate_per_s or 0.0
    burst = rate_per_s if settings.burst is None else settings.burst
    budget_digests = settings.digests_per_day or 0
    return TenantLimits(
        claim=ClaimLimits(
            rate_per_s=rate_per_s,
            burst=burst,
            budget_digests=budget_digests,
            backlog_digests=settings.backlog_digests,
            backlog_bytes=settings.backlog_bytes,
            costs=costs_by_algorithm(kinds),
        ),
        caps=PublishedCaps(
            backlog_digests=settings.backlog_digests,
            backlog_bytes=settings.backlog_bytes,
            budget_digests=budget_digests,
        ),
        weight=settings.weight,
    )
