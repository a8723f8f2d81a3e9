"""What each tenant may claim now, by its limits; and the account of what a claim charged and a job really cost.

The claim script charges by what stands beside the envelope, over all workers. What a job turns out to be (its true
count, the size of its key, nothing where it is refused) is settled with the tenant's next claim. A hard cap of this
worker's own stands behind, should Redis say more than is true.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import ClaimRequest
from queueing.errors import LimitRate
from queueing.protocol.signing_costs import COST_OF
from workers.config.tenant_limits import TenantLimits
from workers.limits.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from queueing.broker.claims import ClaimResult
    from queueing.protocol.algorithms import KeyKind
    from queueing.protocol.limits import ClaimLimits
    from workers.active_job import ActiveJob
    from workers.config.tenants import Tenant
    from workers.telemetry.metrics import Metrics

_NONE: Final = TenantLimits()


class _Account:
    """One tenant's. Costs in units; ``held_until`` on the monotonic clock."""

    __slots__ = ("cap", "cost_per_digest", "held_until", "limits", "owed_cost", "owed_digests")

    def __init__(self, limits: ClaimLimits, now_s: float) -> None:
        self.held_until = 0.0
        self.owed_cost = 0.0
        self.owed_digests = 0
        self.cost_per_digest = max(limits.costs.values(), default=1.0)
        self.limits = limits
        self.cap = _cap(limits, now_s)

    def adopt(self, limits: ClaimLimits, now_s: float) -> None:
        """The configuration has changed."""
        if self.cap is not None and limits.rate_per_s:
            self.cap.adjust(rate_per_s=limits.rate_per_s, burst=limits.burst)
        else:
            self.cap = _cap(limits, now_s)
        self.held_until = 0.0
        self.limits = limits


def _cap(limits: ClaimLimits, now_s: float) -> TokenBucket | None:
    if not limits.rate_per_s:
        return None
    return TokenBucket(rate_per_s=limits.rate_per_s, burst=limits.burst, now_s=now_s)


class TenantLimiter:
    """The accounts of a worker's tenants."""

    def __init__(
        self,
        tenants: Callable[[], dict[str, Tenant]],
        metrics: Metrics,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenants = tenants
        self._metrics = metrics
        self._now_s = now_s
        self._accounts: dict[str, _Account] = {}

    def weight(self, tenant: str) -> float:
        """The tenant's share beside others."""
        return self._configured(tenant).weight

    def cost_per_digest(self, tenant: str) -> float:
        """What a digest of this tenant costs, from what was claimed before; the dearest before the first."""
        return self._account(tenant).cost_per_digest

    def is_held(self, tenant: str) -> bool:
        """Whether a limit holds the tenant back now."""
        return self._held_until(tenant) > self._now_s()

    def next_release_s(self, tenants: Iterable[str]) -> float:
        """When the first of these that is held may claim again (monotonic); infinite where none is held."""
        now_s = self._now_s()
        held = map(self._held_until, tenants)
        return min((until for until in held if until > now_s), default=math.inf)

    def request(self, tenant: str, *, most_jobs: int, most_digests: int) -> ClaimRequest:
        """A claim within the limits, with what is owed."""
        account = self._account(tenant)
        return ClaimRequest(
            tenant=tenant,
            most_jobs=most_jobs,
            most_digests=most_digests,
            limits=account.limits,
            owed_cost=account.owed_cost,
            owed_digests=account.owed_digests,
        )

    def answered(self, request: ClaimRequest, answer: ClaimResult) -> None:
        """Redis took what was owed; a limit may hold the tenant back from now on."""
        self.charged(request)
        account = self._account(request.tenant)
        if answer.wait_s > 0:
            account.held_until = self._now_s() + answer.wait_s
        self._metrics.limits_seen(request.tenant, account.limits, answer)

    def charged(self, request: ClaimRequest) -> None:
        """Redis took what was owed, whatever else became of the claim."""
        account = self._account(request.tenant)
        account.owed_cost -= request.owed_cost
        account.owed_digests -= request.owed_digests

    def perhaps_charged(self, request: ClaimRequest) -> None:
        """The claim's answer is lost: nothing is given back twice, and nothing that is owed is forgotten."""
        account = self._account(request.tenant)
        account.owed_cost -= min(request.owed_cost, 0.0)
        account.owed_digests -= min(request.owed_digests, 0)

    def charge(self, job: ActiveJob, kind: KeyKind) -> None:
        """The job is what it is; raises ``LimitRate`` where this worker's own cap is reached."""
        account = self._account(job.claimed.tenant)
        cost = COST_OF[kind] * job.digests
        if account.cap is not None and not account.cap.admit(cost, self._now_s()):
            self._metrics.limiter.labels(job.claimed.tenant, "hard_cap").inc()
            raise LimitRate("this worker's own cap is reached: Redis grants more than the limit")
        self._settle(account, job, cost, job.digests)
        account.cost_per_digest += 0.1 * (COST_OF[kind] - account.cost_per_digest)

    def refused(self, job: ActiveJob) -> None:
        """The job will not reach a lane: it cost nothing."""
        self._settle(self._account(job.claimed.tenant), job, 0.0, 0)

    def returned(self, job: ActiveJob) -> None:
        """The job goes back unsigned; the release gives back what the claim charged, and here goes the rest."""
        account = self._account(job.claimed.tenant)
        if account.cap is not None:
            account.cap.give_back(job.cost)
        account.owed_cost -= job.owed_cost
        account.owed_digests -= job.owed_digests
        job.cost = job.owed_cost = 0.0
        job.owed_digests = 0

    @staticmethod
    def _settle(account: _Account, job: ActiveJob, cost: float, digests: int) -> None:
        job.cost = cost
        if account.limits.limited:
            job.owed_cost = cost - job.claimed.charged_cost
            job.owed_digests = digests - job.claimed.charged_digests
            account.owed_cost += job.owed_cost
            account.owed_digests += job.owed_digests

    def _configured(self, tenant: str) -> TenantLimits:
        configured = self._tenants().get(tenant)
        return _NONE if configured is None else configured.limits

    def _held_until(self, tenant: str) -> float:
        """By the limits that are in force: one that was raised holds nobody back any more."""
        return self._account(tenant).held_until if tenant in self._accounts else 0.0

    def _account(self, tenant: str) -> _Account:
        limits = self._configured(tenant).claim
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account(limits, self._now_s())
        elif account.limits is not limits and account.limits != limits:
            account.adopt(limits, self._now_s())
        return account
