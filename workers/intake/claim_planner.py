"""Plan of a claim round: how much each ready tenant may claim now.

Bounded by the capacity of the tenant's lanes, by its limits, by its share among the tenants that have work, by its share of
the log's disk, and by a suspect of it that has to be alone.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from queueing.broker.claims import ClaimRequest
    from workers.config.settings import WorkerSettings
    from workers.intake.held_shards import HeldShards
    from workers.intake.ready_tenants import ReadyTenants
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.limits.fair_queueing import FairShares
    from workers.limits.log_shares import LogShares
    from workers.limits.rate_limiter import RateLimiter

ROUND_UNITS: Final = 2048.0
"""Cost, in units, that all tenants together may claim in one round: about a second of a small HSM. Jobs of the next
round wait no longer than this one takes to be read and dispatched, some milliseconds."""

MOST_AT_ONCE: Final = 256
"""Tenants in one round trip: with thousands that may have work, the first do not wait for the last."""


class ClaimPlanner:
    """Turns lane capacity, limits and fair shares into claim requests."""

    def __init__(  # noqa: PLR0913 - all that decides about a claim
        self,
        settings: WorkerSettings,
        *,
        ready: ReadyTenants,
        lanes: LaneRegistry,
        limiter: RateLimiter,
        shares: FairShares,
        held: HeldShards,
        log_shares: LogShares,
    ) -> None:
        self._most_jobs = settings.claim_jobs
        self._suspect_at = max(settings.poison_attempts - 1, 1)
        self._ready = ready
        self._lanes = lanes
        self._limiter = limiter
        self._shares = shares
        self._held = held
        self._log_shares = log_shares

    def plan(self) -> list[ClaimRequest]:
        """One request for each tenant that can start something now and whose turn it is; changes no tenant's state.

        O(ready tenants + tenants whose commits wait for replicas); the fair shares remember that the round began.
        """
        limiter, paused = self._limiter, self._log_shares.paused
        claimable = (t for t in self._ready.claimable() if t not in paused)
        allowed = (t for t in self._held.not_held(claimable) if not limiter.is_limited(t))
        capacities = ((t, self._lanes.capacity_of(t)) for t in allowed)
        digests_of = dict(islice(((t, digests) for t, digests in capacities if digests > 0), MOST_AT_ONCE))
        wants = {t: digests * limiter.cost_per_digest(t) for t, digests in digests_of.items()}
        shares = self._shares.allot(wants, ROUND_UNITS)
        total = sum(shares.values())
        return [
            self._request(tenant, share, digests_of[tenant], share / total)
            for tenant, share in shares.items()
            if share > 0
        ]

    def kept_back_until_s(self) -> float:
        """Time at which the first tenant that a limit, a held shard or the disk keeps back may claim again (monotonic);
        infinite without any.
        """
        return min(
            self._limiter.limited_until_s(self._ready),
            self._held.until_s(),
            self._log_shares.next_look_s(self._ready),
        )

    def _request(self, tenant: str, share: float, capacity: int, part_of_round: float) -> ClaimRequest:
        digests = min(capacity, math.ceil(share / self._limiter.cost_per_digest(tenant)))
        jobs = min(digests, math.ceil(self._most_jobs * part_of_round))
        request = self._limiter.claim_request(tenant, most_jobs=jobs, most_digests=digests)
        return replace(request, suspect_at=self._suspect_at, alone=self._ready.isolation.is_idle(tenant))
