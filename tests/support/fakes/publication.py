"""Log, Redis and settlement of published results, played by the test: they record what they are given, and fail as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from queueing.broker.claims import Claims, Commit, CommitStatus, Retention
from queueing.errors import LogUnavailable, QueueUnavailable, QueueUnconfirmed
from tests.support.fakes.configurations import current_config, tenant
from tests.support.fakes.recording_log import RecordingLog
from tests.support.waiting import turn
from workers.active_job import ActiveJob
from workers.journal.journal import WriteAheadLog
from workers.journal.records import Record
from workers.pipeline.committer import Committer
from workers.pipeline.recovered_results import RecoveredResults
from workers.pipeline.settlement import JobSettlement
from workers.pipeline.unauthenticated import UnauthenticatedJobs
from workers.telemetry.metrics import Metrics


@dataclass
class Publication:
    """Events of published results in their order, and the failures to come."""

    events: list[str] = field(default_factory=list)
    noted: list[Record] = field(default_factory=list)
    durable: list[Record] = field(default_factory=list)
    commits: list[dict[str, list[Commit]]] = field(default_factory=list)
    settled: list[ActiveJob] = field(default_factory=list)
    log_failures: int = 0
    redis_failures: int = 0
    unconfirmed: int = 0
    refuse: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    answer: CommitStatus = CommitStatus.COMMITTED
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    redis_hangs: bool = False


class FakeLog:
    """Appends when the gate is open."""

    def __init__(self, publication: Publication) -> None:
        self._story = publication

    async def append(self, records: Sequence[Record]) -> None:
        await turn(1)  # no log is durable at once
        await self._story.gate.wait()
        if self._story.log_failures:
            self._story.log_failures -= 1
            self._story.events.append("log failed")
            raise LogUnavailable
        self._story.durable += records
        self._story.events.append("durable")

    def append_nowait(self, records: Sequence[Record]) -> None:
        self._story.noted += records


class FakeClaims:
    """Answers every commit as the publication demands."""

    def __init__(self, publication: Publication) -> None:
        self._story = publication

    async def commit(
        self, commits: dict[str, list[Commit]], retention: Retention
    ) -> dict[str, list[CommitStatus] | QueueUnavailable | QueueUnconfirmed]:
        self._story.commits.append(commits)
        while self._story.redis_hangs:
            await turn(1)
        if self._story.redis_failures:
            self._story.redis_failures -= 1
            self._story.events.append("commit failed")
            raise QueueUnavailable
        if self._story.unconfirmed:
            self._story.unconfirmed -= 1
            self._story.events.append("unconfirmed")
            raise QueueUnconfirmed
        self._story.events.append("commit")
        refused, self._story.refuse = self._story.refuse | self._story.away, set()
        unsure, self._story.unsure = self._story.unsure, set()
        answers: dict[str, list[CommitStatus] | QueueUnavailable | QueueUnconfirmed] = {
            tenant: [self._story.answer] * len(batch) for tenant, batch in commits.items()
        }
        answers |= {tenant: QueueUnavailable("WRONGTYPE") for tenant in refused if tenant in commits}
        return answers | {tenant: QueueUnconfirmed() for tenant in unsure if tenant in commits}


class FakeSettlement:
    """Keeps the jobs that are settled."""

    def __init__(self, publication: Publication) -> None:
        self._story = publication

    def settle(self, job: ActiveJob) -> None:
        self._story.events.append("settled")
        self._story.settled.append(job)


def committer_of(publication: Publication, metrics: Metrics, recovered: RecoveredResults) -> Committer:
    """A committer of jobs of acme and globex."""
    return Committer(
        cast("Claims", FakeClaims(publication)),
        config=current_config([tenant("acme"), tenant("globex")]),
        wal=cast("WriteAheadLog", FakeLog(publication)),
        recovered=recovered,
        settlement=cast("JobSettlement", FakeSettlement(publication)),
        unauthenticated=UnauthenticatedJobs(metrics, RecordingLog().wal),
        metrics=metrics,
    )


async def until_turned(question: Callable[[], bool]) -> None:
    """Let the loop turn until the question is answered with yes, at most fifty times."""
    for _ in range(50):
        if question():
            return
        await turn(1)
    pytest.fail("not within fifty turns")
