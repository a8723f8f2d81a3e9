"""Publishes results: the way of a signature from its job to the client.

1. A lane answers a chunk: ``LaneConnection`` (``workers/lanes/supervisor/connection.py``) finds what it had sent and tells
   ``TokenPool.chunk_answered``, which goes to ``ChunkScheduler.chunk_answered``: each slice's outcome goes to its job.
2. ``ActiveJob.slice_done`` (``workers/active_job.py``) collects the signatures. When no digest is left, the job is handed to its
   ``JobSink``: with a result to ``ResultPublisher.finished`` here, unsigned to ``workers/pipeline/retry.py``.
3. A round of ``ResultPublisher.run`` makes the outcomes durable by ``WriteAheadLog.append``; jobs that finish during a round
   share the next one. No signature leaves the worker before. The log does not wait for Redis: where a commit hangs, what is
   signed meanwhile is durable all the same, and the next start publishes it.
4. ``Committer.commit`` (``workers/pipeline/committer.py``) sends them by ``Claims.commit`` under the jobs' leases, and
   ``Committer.run`` repeats that until Redis answers. Then ``JobSettlement.settle`` ends the job.
5. ``queueing/redis/lua/commit.lua`` refuses a commit whose lease another worker has (fenced), else stores the result at
   arq's key and appends it to the reply stream of the client.
6. In the client ``ReplyReader.run`` (``queueing/client/delivery/reply_stream.py``) reads the stream and gives each result to
   ``LostJobRecovery.settle_pushed``, which sets the future of the job by ``PendingJobs.pushed``. What the stream does not
   bring, ``LostJobRecovery.run`` looks up. By HTTPS ``result_polls.py`` takes the place of the stream.
7. ``Transport.result_of`` returns it to ``RequestRunner.run``, and ``ResultChecker.outcomes``
   (``queueing/client/result_checker.py``) verifies every signature, unless the caller wants none verified or has not told the
   digests. ``SingleCalls`` gives each call of ``sign()`` its own.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from queueing.errors import LogUnavailable, ResultInvalid
from queueing.unix_time import unix_ms
from workers.job_result import encode_dead_letter, encode_job_result
from workers.journal.event_records import RefusedRecord
from workers.journal.records import OutcomeRecord, fits
from workers.pipeline.committer import MOST_AT_ONCE, Pending, pauses

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from workers.active_job import ActiveJob
    from workers.journal.journal import WriteAheadLog
    from workers.pipeline.committer import Committer
    from workers.pipeline.forgeries import ForgeryGuard
    from workers.pipeline.recovered_results import RecoveredResults

PACE_S: Final = 0.002
"""Shortest time between two rounds; a single result after a pause does not wait."""


class ResultPublisher:
    """The ``JobSink`` of jobs with a result, in rounds; and the publisher of outcomes that a former process left."""

    def __init__(
        self,
        committer: Committer,
        *,
        wal: WriteAheadLog,
        recovered: RecoveredResults,
        forgeries: ForgeryGuard,
        owner: str,
    ) -> None:
        self._committer = committer
        self._forgeries = forgeries
        self._wal = wal
        self._recovered = recovered
        self._owner = owner
        self._jobs: list[ActiveJob] = []
        self._unreleased: list[OutcomeRecord] = []
        self._came_back: list[tuple[ActiveJob, OutcomeRecord]] = []
        self._wake = asyncio.Event()
        self._durable: list[Pending] = []
        self._some_durable = asyncio.Event()
        self._began_at = 0.0

    @property
    def unconfirmed(self) -> Collection[str]:
        """Tenants of which a commit waits for the replicas that are to have it."""
        return self._committer.unconfirmed

    def finished(self, job: ActiveJob) -> None:
        """Publish this job's result with the next round. The guard of the log is told at once, not when Redis has answered."""
        self._forgeries.judged(job)
        self._jobs.append(job)
        self._wake.set()

    def add_recovered(self, outcomes: Sequence[OutcomeRecord]) -> None:
        """Take over durable outcomes of a former process that may not be published; before ``run``."""
        self._unreleased.extend(outcomes)
        self._recovered.add(outcomes)

    def publish_recovered(self, job: ActiveJob) -> bool:
        """Publish the recovered outcome of a job that was claimed again, and settle it; False when there is none, and it
        must be signed.
        """
        outcome = self._recovered.take(job.claimed)
        if outcome is None:
            return False
        self._came_back.append((job, outcome))
        self._wake.set()
        return True

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._record())
            tasks.create_task(self._commit())
            tasks.create_task(self._committer.run())
            tasks.create_task(self._publish_unreleased())

    async def _record(self) -> None:
        """Make the outcomes of finished jobs durable, a round of them at a time, and hand them to ``_commit``."""
        while True:
            await self._wake.wait()
            await self._keep_pace()
            self._wake.clear()
            jobs, self._jobs = self._jobs, []
            came_back, self._came_back = self._came_back, []
            durable = await self._recorded(jobs, came_back)
            self._durable += durable  # not in one line: a commit may take the list during the wait
            self._some_durable.set()

    async def _commit(self) -> None:
        """Commit what is durable: all that has become so during a commit shares the next one."""
        while True:
            await self._some_durable.wait()
            self._some_durable.clear()
            pending, self._durable = self._durable, []
            await self._committer.commit(pending)

    async def _keep_pace(self) -> None:
        """A round at most every ``PACE_S``, so that jobs that finish together are published together."""
        wait_s = self._began_at + PACE_S - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._began_at = time.monotonic()

    async def _recorded(
        self, jobs: Sequence[ActiveJob], came_back: Sequence[tuple[ActiveJob, OutcomeRecord]]
    ) -> list[Pending]:
        """Durable outcomes of one round. The order is the guarantee of the worker: durable, committed under the lease, settled.

        A refusal of a job that no client was found to have signed gets no record: nothing of it can be signed twice, and a
        writer of such jobs must not fill the log.
        """
        now_ms = unix_ms()
        pending = [Pending(self._outcome_of(job, now_ms), job) for job in jobs]
        pending += [Pending(_under_lease_of(job, old, now_ms), job, recovered=True) for job, old in came_back]
        records: list[OutcomeRecord | RefusedRecord] = []
        for each, job in zip(pending, [*jobs, *(job for job, _ in came_back)], strict=True):
            if each.recovered:
                records.append(each.outcome)
            elif job.recorded:
                records += [*_refusals_of(job, now_ms), each.outcome]
        if records:
            await self._make_durable(records)
        return pending

    def _outcome_of(self, job: ActiveJob, now_ms: int) -> OutcomeRecord:
        """Record of a finished job. A result that the log cannot hold is replaced by an error."""
        c = job.claimed

        def record() -> OutcomeRecord:
            return OutcomeRecord(
                now_ms,
                c.tenant,
                c.job_id,
                c.lease,
                job.hints.re,
                encode_job_result(job),
                encode_dead_letter(job, self._owner),
                job.dropped,
            )

        made = record()
        if not fits(made):
            job.replace_result(ResultInvalid("the result is too large to be published"))
            made = record()
        return made

    async def _publish_unreleased(self) -> None:
        """Commit the outcomes of a former process under its leases, which hold until another worker claims the jobs.

        So these are published at once, and a job that was claimed meanwhile is fenced: then the other outcome counts.
        """
        while self._unreleased:
            outcomes = self._unreleased[:MOST_AT_ONCE]
            del self._unreleased[:MOST_AT_ONCE]
            await self._committer.commit([Pending(outcome, None, recovered=True) for outcome in outcomes])

    async def _make_durable(self, records: Sequence[OutcomeRecord | RefusedRecord]) -> None:
        """Append to the log until it succeeds: no result leaves this worker before it is durable."""
        backoff = pauses()
        while True:
            try:
                await self._wal.append(records)
            except LogUnavailable:
                await asyncio.sleep(backoff.next_s())
            else:
                return


def _under_lease_of(job: ActiveJob, old: OutcomeRecord, now_ms: int) -> OutcomeRecord:
    """Outcome of a former process under the lease of this one, of a job that was claimed again although signed."""
    return OutcomeRecord(
        now_ms,
        old.tenant,
        job.claimed.job_id,
        job.claimed.lease,
        old.reply_id,
        old.result,
        old.dead_letter,
        old.dropped,
    )


def _refusals_of(job: ActiveJob, now_ms: int) -> list[RefusedRecord]:
    """Record of a refusal before any lane, in words: there is no intent that has client, key and number of digests."""
    envelope, failure, claimed = job.envelope, job.failure, job.claimed
    if job.intended or envelope is None or failure is None:
        return []
    return [
        RefusedRecord(
            now_ms,
            claimed.tenant,
            claimed.job_id,
            envelope.client,
            envelope.key,
            envelope.algorithm,
            len(envelope.digests),
            failure.reason,
        )
    ]
