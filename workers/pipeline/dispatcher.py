"""Dispatches claimed jobs to lanes: route, charge, reserve digests of grants and key budgets, make the intent durable, submit."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.errors import (
    GrantExhausted,
    LimitRate,
    LogUnavailable,
    QueueUnavailable,
    SigningError,
    TokenUnavailable,
)
from queueing.unix_time import unix_ms
from workers.journal.records import SALT_BYTES, IntentRecord
from workers.lanes.supervisor.batching import Slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.active_job import ActiveJob
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.lifecycle.shutdown import ShutdownDeadline
    from workers.limits.fair_queueing import FairShares
    from workers.limits.grant_budgets import GrantBudgets
    from workers.limits.key_budgets import KeyBudgets
    from workers.limits.rate_limiter import RateLimiter
    from workers.pipeline.forgeries import ForgeryGuard
    from workers.pipeline.refusal_review import RefusalReview
    from workers.pipeline.result_publisher import ResultPublisher
    from workers.pipeline.retry import JobReturner
    from workers.pipeline.router import Route, Router
    from workers.pipeline.unauthenticated import UnauthenticatedJobs
    from workers.telemetry.metrics import Metrics

Routed = tuple["ActiveJob", "Route"]


class Dispatcher:
    """Gives each claimed job to its lanes, refuses it, or requeues it."""

    def __init__(  # noqa: PLR0913 - the parts that a job passes
        self,
        router: Router,
        *,
        limiter: RateLimiter,
        shares: FairShares,
        budgets: KeyBudgets,
        grants: GrantBudgets,
        wal: WriteAheadLog,
        shutdown: ShutdownDeadline,
        metrics: Metrics,
    ) -> None:
        self._router = router
        self._limiter = limiter
        self._shares = shares
        self._budgets = budgets
        self._grants = grants
        self._wal = wal
        self._shutdown = shutdown
        self._metrics = metrics

    async def dispatch(self, jobs: Sequence[ActiveJob]) -> None:
        """Dispatch every job, refuse it, or requeue it. One sync of the log.

        One round trip to Redis if a key has a budget, and one if a grant is new here or more than half used.

        Raises ``LogUnavailable``; by then all jobs that were to be signed are requeued.
        """
        if self._shutdown.asked.is_set():
            for job in jobs:
                job.requeue(TokenUnavailable("this worker is shutting down"))
            return
        routed = self._route_all(jobs)
        now_ms = unix_ms()
        routed = await self._within_budgets(await self._within_grants(routed, now_ms), now_ms)
        if not routed:
            return
        await self._make_intents_durable([job for job, _ in routed], now_ms)
        if self._shutdown.asked.is_set():
            _requeue_unsent([job for job, _ in routed])
            return
        pools: dict[str, TokenPool] = {}
        for job, route in routed:
            route.pool.submit(Slice(job, route.group, 0, job.digests, alone=job.claimed.alone))
            pools[route.pool.token] = route.pool
        for pool in pools.values():
            pool.pump()

    def _route_all(self, jobs: Sequence[ActiveJob]) -> list[Routed]:
        routed: list[Routed] = []
        costs: defaultdict[str, float] = defaultdict(float)
        waits_s: defaultdict[str, list[float]] = defaultdict(list)
        now_s = time.time()
        for job in jobs:
            route = self._route(job)
            if route is not None:
                routed.append((job, route))
            waits_s[job.claimed.tenant].append(max(now_s - job.enqueued_at_ms / 1000, 0.0))
            costs[job.claimed.tenant] += job.cost
        for tenant, cost in costs.items():
            self._shares.charge(tenant, cost)
        self._metrics.waited(waits_s)
        return routed

    def _route(self, job: ActiveJob) -> Route | None:
        """Find the job's token and settle its charge; None when it is requeued or refused instead."""
        try:
            route = self._router.route(job)
            self._limiter.settle(job, route.key_kind)
        except (LimitRate, TokenUnavailable) as error:
            # Before its intent is in the log: it may be claimed and requeued often, and without a client's signature it would be for ever.
            if self._authenticate(job):
                job.requeue(error)
        except SigningError as error:
            self._refuse(job, error)
        else:
            return route
        return None

    def _authenticate(self, job: ActiveJob) -> bool:
        """Verify the envelope before its lane does; False where it is refused."""
        try:
            self._router.authenticate(job)
        except SigningError as error:
            self._refuse(job, error)
            return False
        return True

    def _refuse(self, job: ActiveJob, error: SigningError) -> None:
        self._limiter.settle_refused(job)
        job.fail(error)

    async def _make_intents_durable(self, jobs: Sequence[ActiveJob], now_ms: int) -> None:
        """Write the intents of jobs, before a lane gets them: after a crash the log names every digest that may have been signed."""
        for job in jobs:
            job.intended = True
        try:
            await self._wal.append(
                [
                    IntentRecord(
                        now_ms, c.tenant, c.job_id, c.lease, c.attempt, job.sealed, os.urandom(SALT_BYTES)
                    )
                    for job in jobs
                    for c in (job.claimed,)
                ]
            )
        except (LogUnavailable, asyncio.CancelledError):
            _requeue_unsent(jobs)
            raise

    async def _within_grants(self, routed: list[Routed], now_ms: int) -> list[Routed]:
        """Refuse or requeue the jobs that their grants do not permit now; the others."""
        jobs = [job for job, _ in routed]
        try:
            await self._grants.refresh(jobs)
        except asyncio.CancelledError:
            _requeue_unsent(jobs)
            raise
        return [each for each in routed if self._within_grant(each[0], now_ms)]

    def _within_grant(self, job: ActiveJob, now_ms: int) -> bool:
        """Reserve the digests of a job under a grant; False where it is refused or requeued instead."""
        try:
            self._grants.reserve(job, now_ms)
        except (LimitRate, LogUnavailable) as error:
            if self._authenticate(job):
                job.requeue(error)
            return False
        except GrantExhausted as error:
            if self._authenticate(job):
                self._refuse(job, error)
            return False
        return True

    async def _within_budgets(self, routed: list[Routed], now_ms: int) -> list[Routed]:
        """Refuse the jobs that exceed the budget of their key, and requeue those whose budget Redis does not count; the others.

        A budget is charged only by what a client of the tenant has signed.
        """
        routed = [
            each for each in routed if not self._budgets.has_budget(each[0]) or self._authenticate(each[0])
        ]
        jobs = [job for job, _ in routed]
        try:
            kept_back = await self._budgets.reserve(jobs, now_ms)
        except asyncio.CancelledError:
            _requeue_unsent(jobs)
            raise
        for job, error in kept_back.items():
            if isinstance(error, QueueUnavailable):
                job.requeue(error)
            else:
                self._refuse(job, error)
        return [each for each in routed if each[0] not in kept_back] if kept_back else routed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Stages that a claimed job goes through: to the lanes, and from them to Redis; the counts of forged ones, and the log's guard."""

    dispatcher: Dispatcher
    review: RefusalReview
    publisher: ResultPublisher
    returner: JobReturner
    unauthenticated: UnauthenticatedJobs
    forgeries: ForgeryGuard


def _requeue_unsent(jobs: Sequence[ActiveJob]) -> None:
    """Requeue jobs of which no lane has anything; they keep their place in the queue."""
    for job in jobs:
        job.slice_unavailable(0, job.digests)
