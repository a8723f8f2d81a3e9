"""Rate limits and daily budgets of tenants: the worker's part.

A job is charged once, when it is claimed, by ``queueing/redis/lua/rate_limit.lua`` inside the claim script, over all
workers and by the job's unsigned hints (GCRA; the limits are ``queueing/protocol/limits.py``). ``RateLimiter`` gives the
claim its limits and stops claiming for a tenant until the script's wait is over. The true cost (number of digests, size of
the key, nothing for a refused job) is known after the envelope is read: the difference goes with the tenant's next claim. What
was charged too little is owed. What was charged too much is a credit, less the time since the claim: without that charge
the bucket may have been full meanwhile, and saved up nothing. ``TokenBucket`` is the hard cap: 1.2 times the limit that this worker signs, whatever Redis grants.

Called by ``intake/claim_planner.py`` (``claim_request``), ``intake/claimer.py`` (``on_claim…``), ``pipeline/dispatcher.py``
(``settle``, ``settle_refused``) and ``pipeline/settlement.py`` (``refund``). ``pipeline/retry.py`` decides whether the nack script
refunds what the claim script charged: not after a fault of the HSM.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from queueing.broker.claim_values import ClaimRequest, Settled
from queueing.errors import LimitRate
from queueing.protocol.signing_costs import COST_OF
from workers.config.tenant_limits import TenantLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queueing.broker.claims import ClaimResult
    from queueing.protocol.algorithms import KeyKind
    from queueing.protocol.limits import ClaimLimits
    from workers.active_job import ActiveJob
    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

_NONE: Final = TenantLimits()
_NOTHING: Final = 1e-9
"""Units that a sum of floats may be off zero."""

DAY_MS: Final = 86_400_000

SLACK: Final = 1.2
"""One worker may sign this factor above the tenant's whole rate and burst before it distrusts Redis."""


class TokenBucket:
    """Bucket of ``SLACK`` times burst (units), refilled at ``SLACK`` times rate (units per second); full at first.

    An honest claim script never empties it: it grants at most the burst and the rate, over all workers.
    """

    __slots__ = ("_at_s", "_burst", "_level", "_rate_per_s")

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s * SLACK
        self._burst = burst * SLACK
        self._level = self._burst
        self._at_s = now_s

    def adjust(self, *, rate_per_s: float, burst: float) -> None:
        """Change the limits; the level is kept, up to the new burst."""
        self._rate_per_s = rate_per_s * SLACK
        self._burst = burst * SLACK
        self._level = min(self._level, self._burst)

    def try_take(self, cost: float, now_s: float) -> bool:
        """Take ``cost`` units; False, and nothing taken, when there are not enough.

        A job larger than the burst needs a full bucket, and leaves it overdrawn.
        """
        self._level = min(self._level + (now_s - self._at_s) * self._rate_per_s, self._burst)
        self._at_s = now_s
        if self._level + 1e-6 < min(cost, self._burst):
            return False
        self._level -= cost
        return True

    def refund(self, cost: float, *, taken_at_s: float, now_s: float) -> None:
        """Put back the cost of a job that was not signed, less what may have been refilled for it since."""
        refilled = (now_s - taken_at_s) * self._rate_per_s
        self._level = min(self._level + max(cost - refilled, 0.0), self._burst)


class _Account:
    """Account of one tenant. Costs in units; ``limited_until_s`` on the monotonic clock."""

    __slots__ = (
        "_adopted_ms",
        "_answered_ms",
        "_settled",
        "bucket",
        "cost_per_digest",
        "limited_until_s",
        "limits",
    )

    def __init__(self, limits: ClaimLimits, now_s: float) -> None:
        self.limited_until_s = 0.0
        self._settled: dict[int, tuple[float, int]] = {}
        self._answered_ms = 0
        self._adopted_ms = -1
        self.cost_per_digest = max(limits.costs.values(), default=1.0)
        self.limits = limits
        self.bucket = _bucket(limits, now_s)

    def adopt(self, limits: ClaimLimits, now_s: float) -> None:
        """Change to these limits: a wait for the old ones is over."""
        if self.bucket is not None and limits.rate_per_s:
            self.bucket.adjust(rate_per_s=limits.rate_per_s, burst=limits.burst)
        else:
            self.bucket = _bucket(limits, now_s)
        self.limited_until_s = 0.0
        self.limits = limits
        self._adopted_ms = self._answered_ms

    def settle(self, claimed_at_ms: int, cost: float, digests: int) -> None:
        """Add to the difference between true costs and charges of the jobs of this claim."""
        before = self._settled.pop(claimed_at_ms, (0.0, 0))
        after = before[0] + cost, before[1] + digests
        if abs(after[0]) > _NOTHING or after[1]:
            self._settled[claimed_at_ms] = after

    def answered(self, request: ClaimRequest, now_ms: int) -> None:
        """A claim was answered at this time of Redis' clock. If it was by other limits than now, its charges give no credit."""
        self._answered_ms = now_ms
        if request.limits != self.limits:
            self._adopted_ms = now_ms

    def request(self, tenant: str, *, most_jobs: int, most_digests: int) -> ClaimRequest:
        """A claim that settles all differences. A credit is for what was charged by the limits in force, and on the same day."""
        now_ms, rate_per_ms = self._answered_ms, self.limits.rate_per_s / 1000
        settled = [Settled(at_ms, *differences) for at_ms, differences in self._settled.items()]
        charged_too_much = [
            (max(-each.cost - (now_ms - each.claimed_at_ms) * rate_per_ms, 0.0), each)
            for each in settled
            if self._adopted_ms < each.claimed_at_ms <= now_ms
        ]
        return ClaimRequest(
            tenant=tenant,
            most_jobs=most_jobs,
            most_digests=most_digests,
            limits=self.limits,
            owed_cost=sum(max(each.cost, 0.0) for each in settled),
            owed_digests=sum(max(each.digests, 0) for each in settled),
            credit_cost=sum(cost for cost, _ in charged_too_much),
            credit_digests=sum(
                max(-each.digests, 0)
                for _, each in charged_too_much
                if each.claimed_at_ms // DAY_MS == now_ms // DAY_MS
            ),
            credit_at_ms=now_ms,
            settled=tuple(settled),
        )


def _bucket(limits: ClaimLimits, now_s: float) -> TokenBucket | None:
    if not limits.rate_per_s:
        return None
    return TokenBucket(rate_per_s=limits.rate_per_s, burst=limits.burst, now_s=now_s)


class RateLimiter:
    """Limiter accounts of a worker's tenants, by the limits in force."""

    def __init__(
        self, config: CurrentConfig, metrics: Metrics, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._now_s = now_s
        self._accounts: dict[str, _Account] = {}

    def weight(self, tenant: str) -> float:
        """The tenant's weight in fair queueing."""
        return self._configured(tenant).weight

    def cost_per_digest(self, tenant: str) -> float:
        """Running mean of the cost of a digest, in units; the dearest kind before the first job."""
        return self._account(tenant).cost_per_digest

    def is_limited(self, tenant: str) -> bool:
        """Whether a limit keeps the tenant from claiming now."""
        return self._limited_until_s(tenant) > self._now_s()

    def limited_until_s(self, tenants: Iterable[str]) -> float:
        """Time at which the first limited tenant of these may claim again (monotonic); infinite when none is limited."""
        now_s = self._now_s()
        limited = map(self._limited_until_s, tenants)
        return min((until_s for until_s in limited if until_s > now_s), default=math.inf)

    def claim_request(self, tenant: str, *, most_jobs: int, most_digests: int) -> ClaimRequest:
        """A claim with the tenant's limits, and what earlier ones were charged too little or too much."""
        return self._account(tenant).request(tenant, most_jobs=most_jobs, most_digests=most_digests)

    def on_claim(self, request: ClaimRequest, result: ClaimResult) -> None:
        """Redis carried the claim out: the debt is paid, and a limit may apply from now on."""
        self.on_claim_unconfirmed(request)
        account = self._account(request.tenant)
        account.answered(request, result.now_ms)
        if result.wait_s > 0:
            account.limited_until_s = self._now_s() + result.wait_s
        self._metrics.limits_seen(request.tenant, account.limits, result)

    def on_claim_unconfirmed(self, request: ClaimRequest) -> None:
        """The primary carried the claim out and no replica confirmed it: the debt is paid."""
        account = self._account(request.tenant)
        for each in request.settled:
            account.settle(each.claimed_at_ms, -each.cost, -each.digests)

    def on_claim_lost(self, request: ClaimRequest) -> None:
        """The reply is lost, and Redis may have carried the claim out.

        A credit is taken for used, and a debt for unpaid: the tenant gets less than its limit, never more.
        """
        account = self._account(request.tenant)
        for each in request.settled:
            account.settle(each.claimed_at_ms, -min(each.cost, 0.0), -min(each.digests, 0))

    def settle(self, job: ActiveJob, kind: KeyKind) -> None:
        """Settle a job's charge by its true cost; raises ``LimitRate`` when this worker's token bucket is empty."""
        account = self._account(job.claimed.tenant)
        cost = COST_OF[kind] * job.digests
        job.cost_taken_at_s = self._now_s()
        if account.bucket is not None and not account.bucket.try_take(cost, job.cost_taken_at_s):
            self._metrics.limiter.labels(job.claimed.tenant, "hard_cap").inc()
            raise LimitRate(
                "this worker's own rate limit is reached: Redis grants more than the tenant's limit"
            )
        self._owe_difference(account, job, cost, job.digests)
        account.cost_per_digest += 0.1 * (COST_OF[kind] - account.cost_per_digest)

    def settle_refused(self, job: ActiveJob) -> None:
        """Settle the charge of a job that is refused and reaches no lane: it costs nothing, also after ``settle``."""
        account = self._account(job.claimed.tenant)
        if account.bucket is not None:
            account.bucket.refund(job.cost, taken_at_s=job.cost_taken_at_s, now_s=self._now_s())
        self._owe_difference(account, job, 0.0, 0)

    def refund(self, job: ActiveJob) -> None:
        """Undo ``settle`` for a job that is returned unsigned: the nack script refunds what the claim script charged."""
        account = self._account(job.claimed.tenant)
        if account.bucket is not None:
            account.bucket.refund(job.cost, taken_at_s=job.cost_taken_at_s, now_s=self._now_s())
        account.settle(job.claimed.claimed_at_ms, -job.owed_cost, -job.owed_digests)
        job.cost = job.owed_cost = 0.0
        job.owed_digests = 0

    @staticmethod
    def _owe_difference(account: _Account, job: ActiveJob, cost: float, digests: int) -> None:
        job.cost = cost
        if account.limits.limited:
            owed_before = job.owed_cost, job.owed_digests
            job.owed_cost = cost - job.claimed.charged_cost
            job.owed_digests = digests - job.claimed.charged_digests
            account.settle(
                job.claimed.claimed_at_ms, job.owed_cost - owed_before[0], job.owed_digests - owed_before[1]
            )

    def _configured(self, tenant: str) -> TenantLimits:
        configured = self._config.tenants.get(tenant)
        return _NONE if configured is None else configured.limits

    def _limited_until_s(self, tenant: str) -> float:
        """End of the tenant's wait by the limits in force: the account adopts a raised one, and the wait ends."""
        return self._account(tenant).limited_until_s if tenant in self._accounts else 0.0

    def _account(self, tenant: str) -> _Account:
        limits = self._configured(tenant).claim
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account(limits, self._now_s())
        elif account.limits is not limits and account.limits != limits:
            account.adopt(limits, self._now_s())
        return account
