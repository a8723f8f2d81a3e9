"""Publishes results: outcome durable in the log, then committed to Redis under the job's lease, then settled.

Jobs that finish during a round share the next one. What Redis does not answer for is repeated until it does, tenant by
tenant and beside the rounds, so that one shard that is away holds up no other's results: the outcomes are in the log and the
jobs stay leased, so nothing is signed twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.broker.claims import Commit, CommitStatus, Retention
from queueing.errors import JobPoisoned, LogUnavailable, QueueUnavailable, QueueUnconfirmed, ResultInvalid
from workers.journal.records import OutcomeRecord, ReleasedRecord, fits
from workers.pipeline.recovered_results import RecoveredResults
from workers.pipeline.unauthenticated import is_of_a_stranger
from workers.telemetry import job_log
from workers.telemetry.outcome_metrics import count_outcomes, count_recovered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.broker.claims import ClaimedJob, Claims
    from workers.active_job import ActiveJob
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog
    from workers.pipeline.settlement import JobSettlement
    from workers.pipeline.unauthenticated import UnauthenticatedJobs
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.release")

PACE_S: Final = 0.002
"""Shortest time between two rounds; a single result after a pause does not wait."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Pauses between attempts while Redis, or the disk, fails."""

MOST_AT_ONCE: Final = 256
"""Recovered outcomes in one round trip: a result may be half a MiB."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A durable outcome that is to be committed; ``job`` None: recovered, of a job that was claimed again."""

    outcome: OutcomeRecord
    job: ActiveJob | None


class ResultPublisher:
    """The ``JobSink`` of jobs with a result, in rounds; and the publisher of outcomes that a former process left."""

    def __init__(  # noqa: PLR0913 - the parts that a result passes
        self,
        claims: Claims,
        *,
        config: CurrentConfig,
        wal: WriteAheadLog,
        settlement: JobSettlement,
        unauthenticated: UnauthenticatedJobs,
        metrics: Metrics,
        owner: str,
    ) -> None:
        self._claims = claims
        self._config = config
        self._wal = wal
        self._settlement = settlement
        self._unauthenticated = unauthenticated
        self._metrics = metrics
        self._owner = owner
        self._retention = Retention(result_ms=int(config.service.worker.result_retention_s * 1000))
        self._jobs: list[ActiveJob] = []
        self._unreleased: list[OutcomeRecord] = []
        self._recovered = RecoveredResults()
        self._came_back: list[tuple[ClaimedJob, OutcomeRecord]] = []
        self._wake = asyncio.Event()
        self._began_at = 0.0
        self._unanswered: defaultdict[str, list[_Pending]] = defaultdict(list)
        self._unanswered_some = asyncio.Event()
        self._unconfirmed: set[str] = set()

    @property
    def unconfirmed(self) -> bool:
        """Whether a commit waits for the replicas that are to have it."""
        return bool(self._unconfirmed)

    def finished(self, job: ActiveJob) -> None:
        """Publish this job's result with the next round."""
        self._jobs.append(job)
        self._wake.set()

    def add_recovered(self, outcomes: Sequence[OutcomeRecord]) -> None:
        """Take over durable outcomes of a former process that may not be published; before ``run``."""
        self._unreleased.extend(outcomes)
        self._recovered.add(outcomes)

    def publish_recovered(self, claimed: ClaimedJob) -> bool:
        """Publish the recovered outcome of a job that was claimed again; False when there is none, and it must be signed."""
        outcome = self._recovered.take(claimed)
        if outcome is None:
            return False
        self._came_back.append((claimed, outcome))
        self._wake.set()
        return True

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._rounds())
            tasks.create_task(self._repeat())
            tasks.create_task(self._publish_unreleased())

    async def _rounds(self) -> None:
        while True:
            await self._wake.wait()
            await self._keep_pace()
            self._wake.clear()
            jobs, self._jobs = self._jobs, []
            came_back, self._came_back = self._came_back, []
            if jobs:
                await self._publish(jobs)
            if came_back:
                await self._publish_came_back(came_back)

    async def _keep_pace(self) -> None:
        """A round at most every ``PACE_S``, so that jobs that finish together are published together."""
        wait_s = self._began_at + PACE_S - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._began_at = time.monotonic()

    async def _publish(self, jobs: list[ActiveJob]) -> None:
        """One round. The order is the guarantee of the worker: durable, committed under the lease, settled.

        A refusal of a job that no client was found to have signed is committed without a record: nothing of it can be
        signed twice, and whoever makes such jobs must not fill the log.
        """
        now_ms = time.time_ns() // 1_000_000
        outcomes = [self._outcome_of(job, now_ms) for job in jobs]
        recorded = [outcome for job, outcome in zip(jobs, outcomes, strict=True) if job.recorded]
        if recorded:
            await self._make_durable(recorded)
        await self._commit_round([_Pending(o, job) for o, job in zip(outcomes, jobs, strict=True)])

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
                job.result(),
                job.dead_letter(self._owner),
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
            outcomes, self._unreleased = (
                self._unreleased[:MOST_AT_ONCE],
                self._unreleased[MOST_AT_ONCE:],
            )
            committed = await self._commit(outcomes)
            self._record_released(outcomes, committed)
            count_recovered(zip(outcomes, committed, strict=True), self._metrics)
            for outcome, status in zip(outcomes, committed, strict=True):
                if status is not CommitStatus.FENCED:
                    self._recovered.forget(outcome)
            published = len(outcomes) - committed.count(CommitStatus.FENCED)
            log.info("recovery.published", extra={"jobs": published})

    async def _publish_came_back(self, came_back: list[tuple[ClaimedJob, OutcomeRecord]]) -> None:
        """Commit recovered outcomes under leases of this process, of jobs that were claimed again although signed."""
        now_ms = time.time_ns() // 1_000_000
        outcomes = [
            OutcomeRecord(
                now_ms, old.tenant, claimed.job_id, claimed.lease, old.reply_id, old.result, old.dead_letter
            )
            for claimed, old in came_back
        ]
        await self._make_durable(outcomes)
        await self._commit_round([_Pending(outcome, None) for outcome in outcomes])

    async def _commit_round(self, pending: Sequence[_Pending]) -> None:
        """Commit once, and leave to ``_repeat`` what is not answered, and all of a tenant for which it already waits."""
        fresh: defaultdict[str, list[_Pending]] = defaultdict(list)
        for each in pending:
            tenant = each.outcome.tenant
            (self._unanswered if tenant in self._unanswered else fresh)[tenant].append(each)
        if fresh:
            await self._commit_pending(fresh)
        for tenant, left in fresh.items():
            self._unanswered[tenant] += left
        if self._unanswered:
            self._unanswered_some.set()

    async def _repeat(self) -> None:
        """Repeat the commits that had no answer, until cancelled."""
        while True:
            await self._unanswered_some.wait()
            self._unanswered_some.clear()
            backoff = _backoff()
            while self._unanswered:
                await asyncio.sleep(backoff.next_s())
                repeated = {tenant: [*pending] for tenant, pending in self._unanswered.items()}
                sizes = {tenant: len(pending) for tenant, pending in repeated.items()}
                await self._commit_pending(repeated)
                for tenant in sizes.keys() - repeated.keys():
                    self._unanswered[tenant] = self._unanswered[tenant][sizes[tenant] :]
                    if not self._unanswered[tenant]:
                        del self._unanswered[tenant]

    async def _commit_pending(self, pending: dict[str, list[_Pending]]) -> None:
        """One round trip, after which only the tenants without an answer are left in ``pending``."""
        answers = await self._commit_once(
            {tenant: [each.outcome for each in batch] for tenant, batch in pending.items()}
        )
        done = [
            pair
            for tenant, answer in answers.items()
            for pair in zip(pending.pop(tenant), answer, strict=True)
        ]
        if done:
            self._conclude(done)

    def _conclude(self, done: Sequence[tuple[_Pending, CommitStatus]]) -> None:
        """Record what was committed, and settle its jobs."""
        recorded = [(each.outcome, status) for each, status in done if each.job is None or each.job.recorded]
        if recorded:
            self._record_released([outcome for outcome, _ in recorded], [status for _, status in recorded])
        jobs = [(each.job, status) for each, status in done if each.job is not None]
        count_outcomes(jobs, self._metrics, self._class_of)
        for job, status in jobs:
            _report(job, status)
            if is_of_a_stranger(job.failure) or (job.envelope is None and not job.recorded):
                self._unauthenticated.record(job)
            self._settlement.settle(job)
        recovered = [(each.outcome, status) for each, status in done if each.job is None]
        if recovered:
            count_recovered(recovered, self._metrics)
            log.info("recovery.published", extra={"jobs": len(recovered)})

    def _record_released(self, outcomes: Sequence[OutcomeRecord], committed: Sequence[CommitStatus]) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._wal.append_nowait(
            [
                ReleasedRecord(now_ms, o.tenant, o.job_id, o.lease, status.name.lower())
                for o, status in zip(outcomes, committed, strict=True)
            ]
        )
        job_log.released(outcomes, committed)

    async def _make_durable(self, records: list[OutcomeRecord]) -> None:
        """Append to the log until it succeeds: no result leaves this worker before it is durable."""
        backoff = _backoff()
        while True:
            try:
                await self._wal.append(records)
            except LogUnavailable:
                await asyncio.sleep(backoff.next_s())
            else:
                return

    async def _commit(self, outcomes: list[OutcomeRecord]) -> list[CommitStatus]:
        """Commit until Redis has answered for each, and its replicas as configured; the answers, in the same order.

        Repeating is safe: the same result under the same lease is the same commit.
        """
        waiting: dict[str, list[OutcomeRecord]] = defaultdict(list)
        for outcome in outcomes:
            waiting[outcome.tenant].append(outcome)
        done: dict[tuple[bytes, bytes], CommitStatus] = {}
        backoff = _backoff()
        while True:
            for tenant, answer in (await self._commit_once(waiting)).items():
                for outcome, status in zip(waiting.pop(tenant), answer, strict=True):
                    done[outcome.job_id, outcome.lease] = status
            if not waiting:
                return [done[outcome.job_id, outcome.lease] for outcome in outcomes]
            await asyncio.sleep(backoff.next_s())

    async def _commit_once(self, by_tenant: dict[str, list[OutcomeRecord]]) -> dict[str, list[CommitStatus]]:
        """One round trip; the answers of those tenants that Redis did answer for."""
        commits = {
            tenant: [Commit(o.job_id, o.lease, o.result, o.reply_id, o.dead_letter) for o in batch]
            for tenant, batch in by_tenant.items()
        }
        try:
            answers = await self._claims.commit(commits, self._retention)
        except QueueUnavailable as error:
            self._note_outage("commit", error)
            return {}
        except QueueUnconfirmed as error:
            self._unconfirmed.update(by_tenant)
            self._note_outage("replicate", error)
            return {}
        answered: dict[str, list[CommitStatus]] = {}
        for tenant, answer in answers.items():
            if isinstance(answer, QueueUnavailable):
                self._note_outage("commit", answer)
            elif isinstance(answer, QueueUnconfirmed):
                self._unconfirmed.add(tenant)
                self._note_outage("replicate", answer)
            else:
                self._unconfirmed.discard(tenant)
                answered[tenant] = answer
        return answered

    def _class_of(self, name: str) -> str:
        tenant = self._config.tenants.get(name)
        return "standard" if tenant is None else tenant.tenant_class

    def _note_outage(self, operation: str, error: Exception) -> None:
        self._metrics.redis_errors.labels(operation).inc()
        log.warning("redis.failed", extra={"operation": operation, "why": str(error)})


def _backoff() -> Backoff:
    return Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)


def _report(job: ActiveJob, status: CommitStatus) -> None:
    """Log the two ends that an operator has to know of."""
    names = {"tenant": job.claimed.tenant, "job_id": job_log.name_of(job.claimed.job_id)}
    if status is CommitStatus.FENCED:
        log.warning("commit.fenced", extra=names)
    elif isinstance(job.failure, JobPoisoned):
        log.error("job.dead", extra={**names, "lane_ends": job.lane_ends, "crashes": job.claimed.crashes})
