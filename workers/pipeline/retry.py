"""Retry: claimed jobs that were not signed go back to their queue (nack), at once or after a delay.

``JobReturner._nack_of`` decides. After a fault of the HSM the attempt counts, and the job waits 1, 2, then 4 s each time,
shortened by up to half at random, until its envelope expires; after a host's clock was set back likewise, up to 60 s, and where this worker has an older file of
the tenant than the cluster, up to 4 s (``workers/pipeline/refusal_review.py``). A job whose token became unavailable keeps its
count and waits 0.5 to 1 s. At a shutdown, and where no token of the tenant can be used, it keeps its place in the queue, for
another worker. ``queueing/redis/lua/nack.lua`` puts it back and refunds its charge, but not after a fault of the HSM. A job
that crashes lanes or workers is not retried for ever but becomes a dead letter (``queueing/broker/dead_letters.py``). Clients
retry their submits in ``queueing/client/delivery/submitter.py``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Randomness, backoff_s
from queueing.errors import ClockSetBack, ConfigBehind, HsmFault, QueueUnavailable
from queueing.unix_time import unix_ms
from workers.journal.records import ReturnedRecord
from workers.telemetry import job_log
from workers.telemetry.metrics import reason_label

if TYPE_CHECKING:
    from queueing.broker.claims import ClaimedJob, Claims
    from workers.active_job import ActiveJob
    from workers.journal.journal import WriteAheadLog
    from workers.journal.records import Record
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lifecycle.shutdown import ShutdownDeadline
    from workers.pipeline.settlement import JobSettlement
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.release")

RETURN_DELAY_S: Final = 1.0
"""A job that was tried in vain is due again after this, so that it is not claimed and returned in a loop."""

TURNED_BACK_DELAY_S: Final = 0.5
"""Delay where no lane may have the job. Below the time between two slow polls (1 s), so that each finds it due again: a
token that recovers is to be used within five seconds, three of which may be the pause of its circuit breaker."""

LONGEST_RETRY_DELAY_S: Final = 4.0
"""A job on which the HSM failed waits twice as long each time, up to this, less up to half at random, so that an HSM does not get
the jobs of all workers at the same moment; it is tried until its envelope expires."""

LONGEST_CLOCK_DELAY_S: Final = 60.0
"""The same for a job that this host refuses because its clock was set back. Each try writes the envelope to the log, and only
another host, a person or the passing hours make the next one better."""


@dataclass(frozen=True, slots=True)
class _Nack:
    """Way to return jobs: whether the attempt counts, whether their limits get the charge back, and the delay in seconds."""

    counts: bool
    refund: bool
    delay_s: float


class JobReturner:
    """The ``JobSink`` of jobs without a result. Independent of the publisher, which the log may hold up."""

    def __init__(  # noqa: PLR0913 - the parts that a returned job passes
        self,
        claims: Claims,
        *,
        wal: WriteAheadLog,
        lanes: LaneRegistry,
        settlement: JobSettlement,
        shutdown: ShutdownDeadline,
        metrics: Metrics,
        randomness: Randomness = random,
    ) -> None:
        self._claims = claims
        self._wal = wal
        self._lanes = lanes
        self._settlement = settlement
        self._shutdown = shutdown
        self._metrics = metrics
        self._randomness = randomness
        self._jobs: list[ActiveJob] = []
        self._wake = asyncio.Event()

    def finished(self, job: ActiveJob) -> None:
        """Return this job with the next round."""
        self._jobs.append(job)
        self._wake.set()

    async def run(self) -> None:
        """Return jobs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            jobs, self._jobs = self._jobs, []
            await self._return(jobs)

    async def _return(self, jobs: list[ActiveJob]) -> None:
        """Record, nack, settle. The record says of each job whether a lane may have signed it.

        A job that was not authenticated yet has no record: a writer of such jobs must not fill the log while no lane may
        have them.
        """
        now_ms = unix_ms()
        records: list[Record] = [
            ReturnedRecord(now_ms, j.claimed.tenant, j.claimed.job_id, j.claimed.lease, j.maybe_signed)
            for j in jobs
            if j.recorded
        ]
        if records:
            self._wal.append_nowait(records)
        for how, batch in self._batches(jobs).items():
            await self._nack(batch, how)
        returned = [(job, self._reason(job)) for job in jobs]
        job_log.returned(returned)
        for job, reason in returned:
            self._metrics.returned.labels(job.claimed.tenant, reason).inc()
            self._settlement.settle(job)

    def _reason(self, job: ActiveJob) -> str:
        """The label of the metric and of the log line."""
        error = None if self._shutdown.asked.is_set() else job.unavailable
        return "drain" if error is None else reason_label(error.reason)

    def _batches(self, jobs: list[ActiveJob]) -> dict[_Nack, dict[str, list[ClaimedJob]]]:
        """Jobs by tenant, for each way to return them. One random number for all: jobs of one delay share a round trip."""
        at_random = self._randomness.random()
        batches: dict[_Nack, dict[str, list[ClaimedJob]]] = {}
        for job in jobs:
            by_tenant = batches.setdefault(self._nack_of(job, at_random), {})
            by_tenant.setdefault(job.claimed.tenant, []).append(job.claimed)
        return batches

    def _nack_of(self, job: ActiveJob, at_random: float) -> _Nack:
        """A job whose delay grows counts its attempts; only the HSM may have spent what its limits charged."""
        faulted = isinstance(job.unavailable, HsmFault)
        counts = faulted or isinstance(job.unavailable, ClockSetBack | ConfigBehind)
        return _Nack(counts, not faulted, self._delay_s(job, at_random, counts=counts))

    def _delay_s(self, job: ActiveJob, at_random: float, *, counts: bool) -> float:
        """Delay before a requeued job is due, in seconds. 0.0 where this worker will not claim it at once: it shuts down, or no token of the tenant can be used."""
        shutting_down = self._shutdown.asked.is_set()
        if shutting_down or not job.delayed or not self._lanes.can_sign(job.claimed.tenant):
            return 0.0
        if counts:
            is_clock = isinstance(job.unavailable, ClockSetBack)
            most_s = LONGEST_CLOCK_DELAY_S if is_clock else LONGEST_RETRY_DELAY_S
            return backoff_s(job.claimed.attempt, first_s=RETURN_DELAY_S, most_s=most_s, at_random=at_random)
        return TURNED_BACK_DELAY_S if job.turned_back else RETURN_DELAY_S

    async def _nack(self, batch: dict[str, list[ClaimedJob]], how: _Nack) -> None:
        """One attempt: without an answer the leases run out, and the jobs are claimed again."""
        try:
            await self._claims.nack(
                batch, counts=how.counts, refund=how.refund, delay_ms=int(how.delay_s * 1000)
            )
        except QueueUnavailable as error:
            self._metrics.redis_errors.labels("release").inc()
            log.warning("redis.failed", extra={"operation": "release", "why": str(error)})
