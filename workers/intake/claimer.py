"""One claim, from the request to the pipeline: sends it, settles its charge, and begins the jobs of its reply."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import ClaimResult
from queueing.errors import LimitBacklog, QueueUnavailable, QueueUnconfirmed, SigningError
from workers.active_job import ActiveJob, JobSinks
from workers.intake.replaced_keys import ReplacedKeys
from workers.pipeline.router import read_job
from workers.telemetry import job_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.broker.claims import ClaimedJob, ClaimRequest, Claims
    from workers.active_jobs import ActiveJobs
    from workers.intake.held_shards import HeldShards
    from workers.intake.ready_tenants import ReadyTenants
    from workers.limits.rate_limiter import RateLimiter
    from workers.pipeline.dispatcher import Pipeline
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.intake")

EXCESS_RETRY_S: Final = 30.0
"""Time after which a job that was cut off a backlog may be submitted again."""

Reply = ClaimResult | QueueUnavailable | QueueUnconfirmed
"""Reply to one tenant's request: Redis carried it out, refused it, or did and no replica confirmed it."""


class Claimer:
    """Claims jobs and hands them to the pipeline."""

    def __init__(  # noqa: PLR0913 - the parts that a claim passes
        self,
        claims: Claims,
        *,
        pipeline: Pipeline,
        ready: ReadyTenants,
        limiter: RateLimiter,
        jobs: ActiveJobs,
        held: HeldShards,
        metrics: Metrics,
    ) -> None:
        self._claims = claims
        self._pipeline = pipeline
        self._sinks = JobSinks(results=pipeline.review, returns=pipeline.returner)
        self._ready = ready
        self._limiter = limiter
        self._jobs = jobs
        self._held = held
        self._metrics = metrics
        self._replaced = ReplacedKeys(metrics)

    @property
    def busy(self) -> bool:
        """Whether this worker has jobs."""
        return len(self._jobs) > 0

    def count_failure(self, operation: str) -> None:
        """Count an error of Redis (``claim``), or of its replicas (``replicate``)."""
        self._metrics.redis_errors.labels(operation).inc()

    async def claim(self, requests: Sequence[ClaimRequest]) -> None:
        """Claim for these tenants, in one round trip, and dispatch the jobs.

        Raises ``QueueUnavailable`` when Redis does not answer, ``QueueUnconfirmed`` when replicas confirm none of the
        claims (the leases run out, and the jobs are claimed again), and ``LogUnavailable`` when no intent can be written.
        Shards that do not confirm are held.
        """
        for request in requests:
            self._ready.remove(request.tenant)  # a doorbell that rings while we claim puts it back
        replies = await self._send(requests)
        jobs: list[ActiveJob] = []
        for request, reply in zip(requests, replies, strict=True):
            jobs += self._accept(request, reply)
        if jobs:
            self._metrics.claimed_jobs.observe(len(jobs))
            await self._pipeline.dispatcher.dispatch(jobs)
        self._hold_unconfirmed(requests, replies)

    def _hold_unconfirmed(self, requests: Sequence[ClaimRequest], replies: Sequence[Reply]) -> None:
        pairs = [*zip(requests, replies, strict=True)]
        self._held.confirmed(request.tenant for request, reply in pairs if isinstance(reply, ClaimResult))
        unconfirmed = {r.tenant: reply for r, reply in pairs if isinstance(reply, QueueUnconfirmed)}
        if not unconfirmed:
            return
        self._held.unconfirmed(unconfirmed)
        self._ready.add(unconfirmed)
        if len(unconfirmed) == len(replies):
            raise next(iter(unconfirmed.values()))
        self.count_failure("replicate")

    async def _send(self, requests: Sequence[ClaimRequest]) -> Sequence[Reply]:
        try:
            return await self._claims.claim(requests)
        except QueueUnconfirmed:
            tenants = [request.tenant for request in requests]
            self._held.unconfirmed(tenants)
            self._ready.add(tenants)
            raise
        except QueueUnavailable as error:
            if error.perhaps_done:
                for request in requests:
                    self._limiter.on_claim_lost(request)
            raise

    def _accept(self, request: ClaimRequest, reply: Reply) -> list[ActiveJob]:
        """Account for one tenant's reply; the jobs that it brought."""
        tenant = request.tenant
        if isinstance(reply, QueueUnconfirmed):
            self._limiter.on_claim_unconfirmed(request)
            return []
        if isinstance(reply, QueueUnavailable):
            self._ready.poll_soon(tenant)  # its doorbell may not be armed
            self.count_failure("claim")
            if reply.perhaps_done:
                self._limiter.on_claim_lost(request)
            if self._ready.refusals.refused(tenant, reply):
                log.error("claim.refused", extra={"tenant": tenant, "why": str(reply)})
            return []
        self._ready.refusals.accepted(tenant)
        self._limiter.on_claim(request, reply)
        self._report(tenant, reply)
        self._refuse_excess(reply.excess)
        return self._begin_all(tenant, reply)

    def _report(self, tenant: str, reply: ClaimResult) -> None:
        self._replaced.add(tenant, reply.replaced)
        self._metrics.claimed(tenant, reply.jobs)
        job_log.claimed(tenant, reply.jobs)

    def _begin_all(self, tenant: str, reply: ClaimResult) -> list[ActiveJob]:
        if reply.jobs:
            self._ready.poll_soon(tenant)
        if reply.more or reply.jobs:
            self._ready.add([tenant])  # until a claim finds nothing, which arms the doorbell
        jobs = [self._begin(claimed) for claimed in reply.jobs]
        if reply.suspect_next or any(job.claimed.alone for job in jobs):
            self._ready.isolation.wait(tenant)
        publisher = self._pipeline.publisher
        return [job for job in jobs if not publisher.publish_recovered(job)]

    def _begin(self, claimed: ClaimedJob) -> ActiveJob:
        job = ActiveJob(claimed, self._sinks)
        self._jobs.add(job)
        self._ready.isolation.began(claimed.tenant)
        return job

    def _refuse_excess(self, excess: Sequence[ClaimedJob]) -> None:
        """Refuse the newest jobs of a backlog far over its cap: they were written past the submit script."""
        for claimed in excess:
            job = self._begin(claimed)
            if self._pipeline.publisher.publish_recovered(job):
                continue
            try:
                read_job(job)
            except SigningError as error:
                job.fail(error)
            else:
                job.fail(
                    LimitBacklog("the tenant's backlog is far over its cap", retry_after_s=EXCESS_RETRY_S)
                )
