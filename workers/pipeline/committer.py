"""Commits durable outcomes to Redis under their leases, and concludes their jobs: recorded, counted, settled.

A round is sent once. What Redis does not answer for is repeated until it does, tenant by tenant and apart from the rounds, so that
one shard that is away delays no other's results. Repeating is safe: the outcomes are in the log, and the same result under
the same lease is the same commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.broker.claims import Commit, CommitStatus, Retention
from queueing.errors import JobPoisoned, QueueUnavailable, QueueUnconfirmed
from queueing.unix_time import unix_ms
from workers.journal.records import ReleasedRecord
from workers.lanes.authorisation import is_unauthenticated
from workers.telemetry import job_log
from workers.telemetry.outcome_metrics import count_outcomes, count_recovered

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from queueing.broker.claims import Claims
    from workers.active_job import ActiveJob
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog
    from workers.journal.records import OutcomeRecord
    from workers.pipeline.recovered_results import RecoveredResults
    from workers.pipeline.settlement import JobSettlement
    from workers.pipeline.unauthenticated import UnauthenticatedJobs
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.release")

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""Pauses between attempts while Redis, or the disk, fails."""

MOST_AT_ONCE: Final = 256
"""Recovered or repeated outcomes in one round trip: a result may be half a MiB."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Durable outcome that is to be committed. ``job``: its job of this process, if there is one.

    ``recovered``: a former process signed it; this one only publishes it.
    """

    outcome: OutcomeRecord
    job: ActiveJob | None
    recovered: bool = False


class Committer:
    """Commits outcomes of one worker; ``run`` repeats those that had no answer."""

    def __init__(  # noqa: PLR0913 - the parts that a committed result passes
        self,
        claims: Claims,
        *,
        config: CurrentConfig,
        wal: WriteAheadLog,
        recovered: RecoveredResults,
        settlement: JobSettlement,
        unauthenticated: UnauthenticatedJobs,
        metrics: Metrics,
    ) -> None:
        self._claims = claims
        self._config = config
        self._wal = wal
        self._recovered = recovered
        self._settlement = settlement
        self._unauthenticated = unauthenticated
        self._metrics = metrics
        self._retention = Retention(result_ms=int(config.service.worker.result_retention_s * 1000))
        self._unanswered: defaultdict[str, list[Pending]] = defaultdict(list)
        self._unanswered_some = asyncio.Event()
        self._unconfirmed: set[str] = set()

    @property
    def unconfirmed(self) -> Collection[str]:
        """Tenants of which a commit waits for the replicas that are to have it."""
        return self._unconfirmed

    async def commit(self, pending: Sequence[Pending]) -> None:
        """Commit once, and leave to ``run`` what is not answered, and all of a tenant for which it already waits."""
        fresh: defaultdict[str, list[Pending]] = defaultdict(list)
        for each in pending:
            tenant = each.outcome.tenant
            (self._unanswered if tenant in self._unanswered else fresh)[tenant].append(each)
        if fresh:
            await self._send(fresh)
        for tenant, left in fresh.items():
            self._unanswered[tenant] += left
        if self._unanswered:
            self._unanswered_some.set()

    async def run(self) -> None:
        """Repeat the commits that had no answer, until cancelled."""
        while True:
            await self._unanswered_some.wait()
            self._unanswered_some.clear()
            backoff = pauses()
            while self._unanswered:
                await asyncio.sleep(backoff.next_s())
                if await self._repeat():
                    backoff.reset()

    async def _repeat(self) -> bool:
        """Repeat the oldest commits of each tenant in one round trip; whether Redis answered for any tenant."""
        share = max(MOST_AT_ONCE // len(self._unanswered), 1)
        repeated = {tenant: pending[:share] for tenant, pending in self._unanswered.items()}
        sizes = {tenant: len(pending) for tenant, pending in repeated.items()}
        await self._send(repeated)
        answered = sizes.keys() - repeated.keys()
        for tenant in answered:
            del self._unanswered[tenant][: sizes[tenant]]
            if not self._unanswered[tenant]:
                del self._unanswered[tenant]
        return bool(answered)

    async def _send(self, pending: dict[str, list[Pending]]) -> None:
        """One round trip, after which only the tenants without an answer are left in ``pending``."""
        answers = await self._answers_to(
            {t: [each.outcome for each in batch] for t, batch in pending.items()}
        )
        done = [
            pair
            for tenant, answer in answers.items()
            for pair in zip(pending.pop(tenant), answer, strict=True)
        ]
        if done:
            self._conclude(done)

    async def _answers_to(self, by_tenant: dict[str, list[OutcomeRecord]]) -> dict[str, list[CommitStatus]]:
        """Answers of those tenants that Redis did answer for."""
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

    def _conclude(self, done: Sequence[tuple[Pending, CommitStatus]]) -> None:
        """Record what was committed, count it, and settle its jobs."""
        self._record_released(done)
        count_outcomes(
            [(each.job, status) for each, status in done if each.job is not None and not each.recovered],
            self._metrics,
            self._class_of,
        )
        for each, status in done:
            job = each.job
            if job is None:
                continue
            _report(job, status)
            if is_unauthenticated(job.failure) or (job.envelope is None and not job.recorded):
                self._unauthenticated.record(job)
            self._settlement.settle(job)
        self._conclude_recovered([(each, status) for each, status in done if each.recovered])

    def _conclude_recovered(self, done: Sequence[tuple[Pending, CommitStatus]]) -> None:
        """Forget the outcomes that were published. A fenced one is kept for when its job is claimed here again."""
        if not done:
            return
        count_recovered([(each.outcome, status) for each, status in done], self._metrics)
        for each, status in done:
            if status is not CommitStatus.FENCED:
                self._recovered.forget(each.outcome)
            elif each.job is not None:  # it was taken for this job
                self._recovered.add([each.outcome])
        published = sum(status is not CommitStatus.FENCED for _, status in done)
        log.info("recovery.published", extra={"jobs": published})

    def _record_released(self, done: Sequence[tuple[Pending, CommitStatus]]) -> None:
        recorded = [(p.outcome, status) for p, status in done if p.job is None or p.job.recorded]
        if not recorded:
            return
        now_ms = unix_ms()
        self._wal.append_nowait(
            [ReleasedRecord(now_ms, o.tenant, o.job_id, o.lease, how.name.lower()) for o, how in recorded]
        )
        job_log.released([outcome for outcome, _ in recorded], [status for _, status in recorded])

    def _class_of(self, name: str) -> str:
        tenant = self._config.tenants.get(name)
        return "standard" if tenant is None else tenant.tenant_class

    def _note_outage(self, operation: str, error: Exception) -> None:
        self._metrics.redis_errors.labels(operation).inc()
        log.warning("redis.failed", extra={"operation": operation, "why": str(error)})


def pauses() -> Backoff:
    """Pauses of one outage."""
    return Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)


def _report(job: ActiveJob, status: CommitStatus) -> None:
    """Log the two ends that an operator has to know of."""
    names = {"tenant": job.claimed.tenant, "job_id": job_log.name_of(job.claimed.job_id)}
    if status is CommitStatus.FENCED:
        log.warning("commit.fenced", extra=names)
    elif isinstance(job.failure, JobPoisoned):
        log.error("job.dead", extra={**names, "lane_ends": job.lane_ends, "crashes": job.claimed.crashes})
