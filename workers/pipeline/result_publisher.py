"""From the lanes back to the client: outcome durable, then committed under the lease, then released.

Jobs that finish while a round is under way share the next one. A round that Redis does not answer is tried
again until it does: the outcomes are in the log, the jobs stay leased, nothing is signed twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import Commit, CommitStatus
from queueing.errors import HsmFault, JobPoisoned, LogUnavailable, QueueUnavailable, QueueUnconfirmed
from workers.active_job import Ending
from workers.journal.records import OutcomeRecord, ReleasedRecord, ReturnedRecord
from workers.pipeline.recovered_results import RecoveredResults
from workers.telemetry import job_log as job_lines
from workers.telemetry.metrics import reason_label
from workers.telemetry.outcome_metrics import count_outcomes, count_recovered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueing.broker.claims import ClaimedJob, Claims, Retention
    from workers.active_job import ActiveJob
    from workers.journal.journal import WriteAheadLog
    from workers.journal.records import Record
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.release")

PACE_S: Final = 0.002
"""Shortest time between two rounds; a lone result after a pause does not wait."""

SHORTEST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0

MOST_AT_ONCE: Final = 256
"""Recovered outcomes in one round trip: a result may be half a MiB."""

RETURN_DELAY_S: Final = 1.0
"""A job that was tried in vain is due again after this, so that it does not go round in circles."""

TURNED_BACK_DELAY_S: Final = 0.5
"""Where no lane may have the job. Below the time between two slow polls (1 s), so that each finds it due again: a token
that is back is to be used within five seconds, three of which may be the pause of its circuit."""

LONGEST_RETRY_DELAY_S: Final = 4.0
"""A job over which the HSM failed waits twice as long each time, up to this; it is tried until its envelope expires."""


class Releaser:
    """Publishes results and returns jobs, in rounds."""

    def __init__(
        self,
        *,
        claims: Claims,
        wal: WriteAheadLog,
        retention: Retention,
        metrics: Metrics,
        settled: Callable[[ActiveJob], None],
        draining: Callable[[], bool],
        class_of: Callable[[str], str],
        can_sign: Callable[[str], bool],
        owner: str = "",
    ) -> None:
        self._claims = claims
        self._owner = owner
        self._can_sign = can_sign
        self._wal = wal
        self._retention = retention
        self._metrics = metrics
        self._settled = settled
        self._draining = draining
        self._class_of = class_of
        self._results: list[ActiveJob] = []
        self._returned: list[ActiveJob] = []
        self._left: list[OutcomeRecord] = []
        self._before = RecoveredResults()
        self._again: list[tuple[ClaimedJob, OutcomeRecord]] = []
        self._results_wake = asyncio.Event()
        self._returned_wake = asyncio.Event()
        self._began_at = 0.0
        self.unconfirmed = False
        """Whether a commit waits for the replicas that are to have it."""

    def finished(self, job: ActiveJob) -> None:
        """This job has all its outcomes."""
        if job.ending is Ending.RESULT:
            self._results.append(job)
            self._results_wake.set()
        else:
            self._returned.append(job)
            self._returned_wake.set()

    def recovered(self, outcomes: Sequence[OutcomeRecord]) -> None:
        """Durable outcomes of an ended process that may not have been released; before ``run``."""
        self._left.extend(outcomes)
        self._before.add(outcomes)

    def published_before(self, claimed: ClaimedJob) -> bool:
        """Whether the log already has this job's outcome; then it is published under the new lease."""
        outcome = self._before.take(claimed)
        if outcome is None:
            return False
        self._again.append((claimed, outcome))
        self._results_wake.set()
        return True

    async def run(self) -> None:
        """Rounds for ever; cancelled when nothing is in work any more.

        What goes back never waits for what is published: that may be held up by the log.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publishing())
            tasks.create_task(self._returning())
            tasks.create_task(self._publish_left())

    async def _publishing(self) -> None:
        while True:
            await self._results_wake.wait()
            await self._keep_pace()
            self._results_wake.clear()
            jobs, self._results = self._results, []
            again, self._again = self._again, []
            if jobs:
                await self._publish(jobs)
            if again:
                await self._publish_again(again)

    async def _returning(self) -> None:
        while True:
            await self._returned_wake.wait()
            self._returned_wake.clear()
            jobs, self._returned = self._returned, []
            await self._give_back(jobs)

    async def _keep_pace(self) -> None:
        """A round at most every ``PACE_S``, so that jobs which finish together are published together."""
        wait_s = self._began_at + PACE_S - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._began_at = time.monotonic()

    async def _publish(self, jobs: list[ActiveJob]) -> None:
        now_ms = time.time_ns() // 1_000_000
        outcomes = [
            OutcomeRecord(
                now_ms, c.tenant, c.job_id, c.lease, j.hints.re, j.result(), j.dead_letter(self._owner)
            )
            for j in jobs
            for c in (j.claimed,)
        ]
        await self._durable(outcomes)
        committed = await self._commit(outcomes)
        self._note_released(outcomes, committed)
        done = list(zip(jobs, committed, strict=True))
        count_outcomes(done, self._metrics, self._class_of)
        for job, how in done:
            if how is CommitStatus.FENCED:
                log.warning("commit.fenced", extra=_names(job))
            elif isinstance(job.failure, JobPoisoned):
                log.error(
                    "job.dead",
                    extra={**_names(job), "lane_ends": job.lane_ends, "crashes": job.claimed.crashes},
                )
            self._settled(job)

    async def _publish_left(self) -> None:
        """Under the lease that the ended process had: it holds until somebody else has claimed the job.

        So these are released at once, whoever would claim the job next. Where somebody has, their outcome counts.
        """
        while self._left:
            outcomes, self._left = self._left[:MOST_AT_ONCE], self._left[MOST_AT_ONCE:]
            committed = await self._commit(outcomes)
            self._note_released(outcomes, committed)
            count_recovered(zip(outcomes, committed, strict=True), self._metrics)
            for outcome, how in zip(outcomes, committed, strict=True):
                if how is not CommitStatus.FENCED:
                    self._before.forget(outcome)
            log.info(
                "recovery.published", extra={"jobs": len(outcomes) - committed.count(CommitStatus.FENCED)}
            )

    async def _publish_again(self, again: list[tuple[ClaimedJob, OutcomeRecord]]) -> None:
        """Under a lease of this process: the job came back although it was signed."""
        now_ms = time.time_ns() // 1_000_000
        outcomes = [
            OutcomeRecord(
                now_ms, old.tenant, claimed.job_id, claimed.lease, old.reply_id, old.result, old.dead_letter
            )
            for claimed, old in again
        ]
        await self._durable(outcomes)
        committed = await self._commit(outcomes)
        self._note_released(outcomes, committed)
        count_recovered(zip(outcomes, committed, strict=True), self._metrics)
        log.info("recovery.published", extra={"jobs": len(again)})

    def _note_released(self, outcomes: Sequence[OutcomeRecord], committed: Sequence[CommitStatus]) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._wal.note(
            [
                ReleasedRecord(now_ms, o.tenant, o.job_id, o.lease, how.name.lower())
                for o, how in zip(outcomes, committed, strict=True)
            ]
        )
        job_lines.released(outcomes, committed)

    async def _durable(self, records: list[OutcomeRecord]) -> None:
        """Wait until the log has them; it fails closed, so nothing is released before."""
        pause_s = SHORTEST_PAUSE_S
        while True:
            try:
                await self._wal.append(records)
            except LogUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                return

    async def _commit(self, outcomes: list[OutcomeRecord]) -> list[CommitStatus]:
        by_tenant: dict[str, list[OutcomeRecord]] = defaultdict(list)
        for outcome in outcomes:
            by_tenant[outcome.tenant].append(outcome)
        done: dict[tuple[bytes, bytes], CommitStatus] = {}
        pause_s = SHORTEST_PAUSE_S
        while by_tenant:
            commits = {
                tenant: [Commit(o.job_id, o.lease, o.result, o.reply_id, o.dead_letter) for o in batch]
                for tenant, batch in by_tenant.items()
            }
            try:
                answers = await self._claims.commit(commits, self._retention)
            except QueueUnavailable as error:
                answers = {}
                self._note_outage("commit", error)
            except QueueUnconfirmed as error:
                answers = {}
                self.unconfirmed = True
                self._note_outage("replicate", error)
            else:
                self.unconfirmed = False
            for tenant, answer in answers.items():
                if isinstance(answer, QueueUnavailable):
                    self._note_outage("commit", answer)
                    continue
                for outcome, committed in zip(by_tenant.pop(tenant), answer, strict=True):
                    done[outcome.job_id, outcome.lease] = committed
            if by_tenant:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return [done[outcome.job_id, outcome.lease] for outcome in outcomes]

    async def _give_back(self, jobs: list[ActiveJob]) -> None:
        """Back to the queue, due a little later, or at once by a worker that ends: another one is well.

        What a lane may have signed is on record as such.
        """
        now_ms = time.time_ns() // 1_000_000
        records: list[Record] = [
            ReturnedRecord(now_ms, j.claimed.tenant, j.claimed.job_id, j.claimed.lease, j.maybe_signed)
            for j in jobs
        ]
        self._wal.note(records)
        for (counts, delay_s), batch in self._ways_back(jobs).items():
            await self._release(batch, counts=counts, delay_s=delay_s)
        returned = [(job, self._why_returned(job)) for job in jobs]
        job_lines.returned(returned)
        for job, reason in returned:
            self._metrics.returned.labels(job.claimed.tenant, reason).inc()
            self._settled(job)

    def _why_returned(self, job: ActiveJob) -> str:
        why = None if self._draining() else job.unavailable
        return "drain" if why is None else reason_label(why.reason)

    def _ways_back(self, jobs: list[ActiveJob]) -> dict[tuple[bool, float], dict[str, list[ClaimedJob]]]:
        """Jobs by how they go back: whether the attempt counts, and how much later they are due."""
        ways: dict[tuple[bool, float], dict[str, list[ClaimedJob]]] = {}
        for job in jobs:
            counts = isinstance(job.unavailable, HsmFault)
            by_tenant = ways.setdefault((counts, self._delay_s(job, counts=counts)), {})
            by_tenant.setdefault(job.claimed.tenant, []).append(job.claimed)
        return ways

    def _delay_s(self, job: ActiveJob, *, counts: bool) -> float:
        """Nothing where this worker will not claim it at once: it ends, or every token of the tenant is in doubt."""
        if self._draining() or not job.delayed or not self._can_sign(job.claimed.tenant):
            return 0.0
        if counts:
            return min(RETURN_DELAY_S * 2.0 ** min(job.claimed.attempt - 1, 8), LONGEST_RETRY_DELAY_S)
        return TURNED_BACK_DELAY_S if job.turned_back else RETURN_DELAY_S

    async def _release(self, batch: dict[str, list[ClaimedJob]], *, counts: bool, delay_s: float) -> None:
        try:
            await self._claims.nack(batch, counts=counts, delay_ms=int(delay_s * 1000))
        except QueueUnavailable as error:
            self._note_outage("release", error)  # the leases run out by themselves

    def _note_outage(self, operation: str, error: Exception) -> None:
        self._metrics.redis_errors.labels(operation).inc()
        log.warning("redis.failed", extra={"operation": operation, "why": str(error)})


def _names(job: ActiveJob) -> dict[str, str]:
    return {"tenant": job.claimed.tenant, "job_id": job_lines.name_of(job.claimed.job_id)}
