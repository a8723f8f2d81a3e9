"""From the claim to the lanes: find each job's lanes, keep the budgets, make the intent durable, dispatch."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from queueing.errors import LimitRate, LogUnavailable, QueueUnavailable, SigningError, TokenUnavailable
from workers.journal.records import IntentRecord
from workers.lanes.supervisor.batching import Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.active_job import ActiveJob
    from workers.config.tenants import Tenant
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.batching import Group
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.limits.fair_queueing import FairShares
    from workers.limits.key_budgets import KeyBudgets
    from workers.limits.tenant_limiter import TenantLimiter
    from workers.pipeline.router import Router
    from workers.telemetry.metrics import Metrics

Routed = tuple["ActiveJob", "Group", "TokenPool"]


class Dispatcher:
    """Hands claimed jobs to their lanes, or ends them."""

    def __init__(
        self,
        router: Router,
        *,
        tenants: Callable[[], dict[str, Tenant]],
        allowances: TenantLimiter,
        shares: FairShares,
        budgets: KeyBudgets,
        wal: WriteAheadLog,
        metrics: Metrics,
        draining: Callable[[], bool],
    ) -> None:
        self._router = router
        self._tenants = tenants
        self._allowances = allowances
        self._shares = shares
        self._budgets = budgets
        self._wal = wal
        self._metrics = metrics
        self._draining = draining

    async def take(self, jobs: Sequence[ActiveJob]) -> None:
        """Every job goes to a lane, is refused, or goes back.

        Raises ``LogUnavailable`` and ``QueueUnavailable``, when all that were to be signed have gone back.
        """
        routed = self._route(jobs)
        now_ms = time.time_ns() // 1_000_000
        routed = await self._within_budgets(routed, now_ms)
        if not routed:
            return
        await self._intend([job for job, _, _ in routed], now_ms)
        if self._draining():
            _put_all_back([job for job, _, _ in routed])
            return
        touched: dict[str, TokenPool] = {}
        for job, group, lanes in routed:
            lanes.submit(Slice(job, group, 0, job.digests, alone=job.claimed.alone))
            touched[lanes.token] = lanes
        for lanes in touched.values():
            lanes.pump()

    def _route(self, jobs: Sequence[ActiveJob]) -> list[Routed]:
        routed: list[Routed] = []
        costs: defaultdict[str, float] = defaultdict(float)
        waits_s: defaultdict[str, list[float]] = defaultdict(list)
        now_s = time.time()
        for job in jobs:
            try:
                routed.append((job, *self._router.route(job)))
            except (LimitRate, TokenUnavailable) as error:
                job.put_back(error)  # before anything is on record of it: it may come round often
            except SigningError as error:
                self._allowances.refused(job)
                job.fail(error)
            waits_s[job.claimed.tenant].append(max(now_s - job.enqueued_at_ms / 1000, 0.0))
            costs[job.claimed.tenant] += job.cost
        for tenant, cost in costs.items():
            self._shares.charge(tenant, cost)
        self._metrics.waited(waits_s)
        return routed

    async def _intend(self, jobs: Sequence[ActiveJob], now_ms: int) -> None:
        """Nothing is sent to a lane before this is durable."""
        try:
            await self._wal.append(
                [
                    IntentRecord(now_ms, c.tenant, c.job_id, c.lease, c.attempt, job.sealed)
                    for job in jobs
                    for c in (job.claimed,)
                ]
            )
        except (LogUnavailable, asyncio.CancelledError):
            _put_all_back(jobs)
            raise

    async def _within_budgets(self, routed: list[Routed], now_ms: int) -> list[Routed]:
        """Refuse what the budgets of keys have no room for."""
        jobs = [job for job, _, _ in routed]
        try:
            over = await self._budgets.reserve(jobs, self._tenants(), now_ms)
        except (QueueUnavailable, asyncio.CancelledError):
            _put_all_back(jobs)
            raise
        for job, error in over.items():
            self._allowances.refused(job)
            job.fail(error)
        return [each for each in routed if each[0] not in over] if over else routed


def _put_all_back(jobs: Sequence[ActiveJob]) -> None:
    for job in jobs:
        job.slice_unavailable(0, job.digests)
