"""Publication of results: outcome durable, committed under the lease, settled, in that order, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing import ClientKey
from queueing.broker.claims import Claims, Commit, CommitStatus, Retention
from queueing.broker.dead_letters import DeadLetter
from queueing.errors import (
    EnvelopeMalformed,
    EnvelopeSignature,
    KeyUnknown,
    LogUnavailable,
    QueueUnavailable,
    QueueUnconfirmed,
    ResultInvalid,
)
from queueing.protocol.envelope import seal
from queueing.protocol.jobs import JobHints, JobOutcome, decode_result, encode_job
from tests.support.fakes.active_jobs import FINGERPRINT, claimed, envelope, job_in_work, one_sink, signed
from tests.support.fakes.configurations import current_config, tenant
from tests.support.fakes.fake_lane import turn
from workers.active_job import ActiveJob
from workers.journal.journal import WriteAheadLog
from workers.journal.records import MAX_RECORD_BYTES, OutcomeRecord, Record, ReleasedRecord, encode_record
from workers.journal.segments import frame
from workers.lanes.protocol import SliceOutcome
from workers.pipeline import committer, result_publisher
from workers.pipeline.committer import MOST_AT_ONCE, Committer
from workers.pipeline.recovered_results import RecoveredResults
from workers.pipeline.result_publisher import ResultPublisher
from workers.pipeline.settlement import JobSettlement
from workers.pipeline.unauthenticated import UnauthenticatedJobs
from workers.telemetry.metrics import Metrics


@dataclass
class Story:
    """Events of one publisher in their order, and the failures to come."""

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


class FakeLog:
    """Appends when the gate is open."""

    def __init__(self, story: Story) -> None:
        self._story = story

    async def append(self, records: Sequence[Record]) -> None:
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
    """Answers every commit as the story demands."""

    def __init__(self, story: Story) -> None:
        self._story = story

    async def commit(
        self, commits: dict[str, list[Commit]], retention: Retention
    ) -> dict[str, list[CommitStatus] | QueueUnavailable | QueueUnconfirmed]:
        self._story.commits.append(commits)
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

    def __init__(self, story: Story) -> None:
        self._story = story

    def settle(self, job: ActiveJob) -> None:
        self._story.events.append("settled")
        self._story.settled.append(job)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setattr(result_publisher, "PACE_S", 0.0)
    for pause in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(committer, pause, 0.0)
    made = Story()
    made.gate.set()
    return made


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def publisher_of(story: Story, metrics: Metrics) -> ResultPublisher:
    recovered = RecoveredResults()
    wal = cast("WriteAheadLog", FakeLog(story))
    return ResultPublisher(
        Committer(
            cast("Claims", FakeClaims(story)),
            config=current_config([tenant("acme"), tenant("globex")]),
            wal=wal,
            recovered=recovered,
            settlement=cast("JobSettlement", FakeSettlement(story)),
            unauthenticated=UnauthenticatedJobs(metrics),
            metrics=metrics,
        ),
        wal=wal,
        recovered=recovered,
        owner="w1",
    )


@pytest.fixture
async def publisher(story: Story, metrics: Metrics) -> AsyncIterator[ResultPublisher]:
    made = publisher_of(story, metrics)
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def finish(publisher: ResultPublisher, *names: bytes, tenant: str = "acme") -> list[ActiveJob]:
    """Jobs of one digest, all signed."""
    jobs = [job_in_work(publisher, job_id=name, tenant=tenant) for name in names]
    for job in jobs:
        job.slice_done(0, signed(1))
    return jobs


async def until_turned(question: Callable[[], bool]) -> None:
    """Let the loop turn until the question is answered with yes, at most fifty times."""
    for _ in range(50):
        if question():
            return
        await turn(1)
    pytest.fail("not within fifty turns")


async def test_nothing_is_committed_before_its_outcome_is_durable(
    story: Story, publisher: ResultPublisher
) -> None:
    """The commit waits as long as the log takes."""
    story.gate.clear()
    (job,) = finish(publisher, b"a")
    await turn()
    assert not story.commits
    story.gate.set()
    await turn()
    assert story.events == ["durable", "commit", "settled"]
    (outcome,) = story.durable
    assert isinstance(outcome, OutcomeRecord)
    ((commit,),) = story.commits[0].values()
    assert (commit.job_id, commit.lease, commit.result) == (b"a", b"worker:7", outcome.result)
    assert story.settled == [job]
    assert [type(record) for record in story.noted] == [ReleasedRecord]


async def test_while_the_log_fails_nothing_is_committed(story: Story, publisher: ResultPublisher) -> None:
    """The append is repeated until it succeeds."""
    story.log_failures = 5
    finish(publisher, b"a")
    await turn(50)
    assert story.events == ["log failed"] * 5 + ["durable", "commit", "settled"]


async def test_an_unauthenticated_job_is_committed_without_a_record(
    story: Story, publisher: ResultPublisher, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    """Rubbish under long ids costs counters and one log line; the client of a good job still gets its refusal recorded."""
    for number in range(50):
        rubbish = ActiveJob(claimed(b"r%d" % number + b"x" * 16_000), one_sink(publisher))
        rubbish.fail(EnvelopeMalformed("the job is not msgpack in arq's form"))
    known = job_in_work(publisher, job_id=b"known")
    known.authenticated, known.intended = True, False
    known.fail(KeyUnknown())
    intended = job_in_work(publisher, job_id=b"intended")
    intended.fail(EnvelopeSignature())
    await turn(50)
    assert sum(len(commits["acme"]) for commits in story.commits) == 52
    assert {record.job_id for record in story.durable if isinstance(record, OutcomeRecord)} == {
        b"known",
        b"intended",
    }
    assert {record.job_id for record in story.noted if isinstance(record, ReleasedRecord)} == {
        b"known",
        b"intended",
    }
    assert metrics.unauthenticated_jobs.labels("acme", "envelope.malformed")._value.get() == 50
    assert metrics.unauthenticated_jobs.labels("acme", "envelope.signature")._value.get() == 1
    lines = [record for record in caplog.records if record.msg == "jobs.unauthenticated"]
    assert len(lines) == 1
    assert len(lines[0].job_id) <= 256  # type: ignore[attr-defined]
    assert len(story.settled) == 52


async def test_a_result_that_the_log_cannot_hold_becomes_an_error(
    story: Story, publisher: ResultPublisher
) -> None:
    """The publisher goes on: neither the log nor the publisher ends over one job."""
    huge = job_in_work(publisher, job_id=b"huge")
    huge.slice_done(0, SliceOutcome(None, 3, FINGERPRINT, (b"s" * (MAX_RECORD_BYTES + 1),)))
    finish(publisher, b"a")
    await turn()
    results = {c.job_id: decode_result(c.result).outcome for c in story.commits[0]["acme"]}
    assert isinstance(results[b"huge"], ResultInvalid)
    assert isinstance(results[b"a"], JobOutcome)
    for record in story.durable:
        frame(encode_record(record))


async def test_a_commit_without_an_answer_is_repeated_with_the_same_bytes(
    story: Story, publisher: ResultPublisher
) -> None:
    """Redis may have carried it out: the same result under the same lease is the same commit."""
    story.redis_failures = 3
    finish(publisher, b"a")
    await turn(50)
    assert story.events == ["durable", *["commit failed"] * 3, "commit", "settled"]
    assert len({commits["acme"][0].result for commits in story.commits}) == 1


async def test_a_commit_that_replicas_do_not_have_is_repeated_until_they_do(
    story: Story, publisher: ResultPublisher, metrics: Metrics
) -> None:
    """The job stays leased, and the bytes are the same: a primary that forgot them gets them again."""
    story.unconfirmed = 3
    story.answer = CommitStatus.REPEATED
    finish(publisher, b"a")
    await until_turned(lambda: bool(publisher.unconfirmed))
    assert not story.settled
    await turn(50)
    assert story.events == ["durable", *["unconfirmed"] * 3, "commit", "settled"]
    assert len({commits["acme"][0].result for commits in story.commits}) == 1
    assert not publisher.unconfirmed
    assert metrics.redis_errors.labels("replicate")._value.get() == 3


async def test_of_two_shards_only_the_commits_of_the_one_without_its_replicas_are_repeated(
    story: Story, publisher: ResultPublisher, metrics: Metrics
) -> None:
    """The jobs of the other are settled; nothing is claimed until the first has its replicas."""
    story.unsure = {"acme"}
    finish(publisher, b"a")
    finish(publisher, b"g", tenant="globex")
    await until_turned(lambda: bool(publisher.unconfirmed))
    assert [job.claimed.tenant for job in story.settled] == ["globex"]
    await turn(50)
    assert [sorted(commits) for commits in story.commits] == [["acme", "globex"], ["acme"]]
    assert [job.claimed.tenant for job in story.settled] == ["globex", "acme"]
    assert not publisher.unconfirmed
    assert metrics.redis_errors.labels("replicate")._value.get() == 1


async def test_one_tenants_damaged_keys_do_not_hold_up_the_others(
    story: Story, publisher: ResultPublisher
) -> None:
    """The other tenant's jobs are committed once, and only the damaged tenant's are repeated."""
    story.refuse = {"acme"}
    finish(publisher, b"a")
    finish(publisher, b"g", tenant="globex")
    await turn(50)
    assert [sorted(commits) for commits in story.commits] == [["acme", "globex"], ["acme"]]
    assert len(story.settled) == 2


async def test_while_a_tenants_shard_is_away_the_results_of_others_are_published(
    story: Story, publisher: ResultPublisher
) -> None:
    """Also those that finish later; what waits is published together, in order, when the shard answers again."""
    story.away = {"acme"}
    finish(publisher, b"a")
    await turn(20)
    finish(publisher, b"g", tenant="globex")
    finish(publisher, b"b")
    await turn(20)
    assert [job.claimed.tenant for job in story.settled] == ["globex"]
    story.away = set()
    await turn(50)
    assert [job.claimed.job_id for job in story.settled] == [b"g", b"a", b"b"]


async def test_jobs_that_finish_during_a_round_share_the_next(
    story: Story, publisher: ResultPublisher
) -> None:
    """One append and one commit for all of them."""
    story.gate.clear()
    finish(publisher, b"a")
    await turn()
    finish(publisher, b"b", b"c", b"d")
    story.gate.set()
    await turn(50)
    assert [len(commits["acme"]) for commits in story.commits] == [1, 3]


async def test_a_late_commit_is_recorded_as_fenced(
    story: Story, publisher: ResultPublisher, metrics: Metrics
) -> None:
    """Another worker has the job: this one counts and records that, and publishes no signature."""
    story.answer = CommitStatus.FENCED
    finish(publisher, b"a")
    await turn()
    (note,) = story.noted
    assert isinstance(note, ReleasedRecord)
    assert note.how == "fenced"
    assert metrics.fenced.labels("acme")._value.get() == 1
    assert len(story.settled) == 1


async def test_a_repeated_commit_is_a_commit(
    story: Story, publisher: ResultPublisher, metrics: Metrics
) -> None:
    """The answer to the first one was lost; the signatures are counted."""
    story.answer = CommitStatus.REPEATED
    finish(publisher, b"a")
    await turn()
    assert metrics.fenced.labels("acme")._value.get() == 0
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 1


async def test_failed_jobs_have_a_result_too(
    story: Story, publisher: ResultPublisher, metrics: Metrics
) -> None:
    """It is durable and committed as any other, and counted by its reason."""
    job_in_work(publisher, 5).fail(KeyUnknown())
    await turn()
    assert story.events == ["durable", "commit", "settled"]
    assert metrics.failures.labels("acme", "ECDSA_SHA_256", "key.unknown")._value.get() == 5
    assert metrics.jobs.labels("acme", "key.unknown")._value.get() == 1


async def test_a_poisoned_job_is_committed_with_its_dead_letter(
    story: Story, publisher: ResultPublisher
) -> None:
    """The dead letter is part of the commit, and of the record in the log."""
    job_in_work(publisher).slice_poisoned(0, 1, ["exit_5"])
    await turn()
    ((commit,),) = (batch for batches in story.commits for batch in batches.values())
    letter = msgspec.msgpack.decode(commit.dead_letter, type=DeadLetter)
    assert (letter.reason, letter.lane_ends, letter.worker) == ("job.poisoned", ("exit_5",), "w1")


def outcome_of(job_id: bytes = b"a", tenant: str = "acme", *, digests: int = 1) -> OutcomeRecord:
    """An outcome that a former process made durable."""
    job = job_in_work(None, digests, job_id=job_id, tenant=tenant)
    job.slice_done(0, signed(digests))
    return OutcomeRecord(1, tenant, job_id, b"old-worker:1", "", job.result())


def came_back(job_id: bytes = b"a", tenant: str = "acme", *, digests: int = 1) -> ActiveJob:
    """The job of ``outcome_of``, claimed again."""
    sealed = seal(envelope(digests), ClientKey.generate())
    again = replace(claimed(job_id, tenant=tenant), payload=encode_job(sealed, JobHints(), 1))
    return ActiveJob(again, one_sink())


@pytest.fixture
async def restarted(story: Story, metrics: Metrics) -> AsyncIterator[Callable[..., ResultPublisher]]:
    """Makes a publisher that begins with these outcomes of a former process."""
    running: list[asyncio.Task[None]] = []

    def make(*outcomes: OutcomeRecord) -> ResultPublisher:
        made = publisher_of(story, metrics)
        made.add_recovered(outcomes)
        running.append(asyncio.ensure_future(made.run()))
        return made

    yield make
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_recovered_outcomes_are_committed_at_the_start_under_their_old_lease(
    story: Story, restarted: Callable[..., ResultPublisher], metrics: Metrics
) -> None:
    """Before any worker claims the job and signs it again."""
    old = outcome_of(digests=3)
    restarted(old)
    await turn(50)
    (commit,) = story.commits[0]["acme"]
    assert (commit.lease, commit.result) == (b"old-worker:1", old.result)
    (note,) = story.noted
    assert isinstance(note, ReleasedRecord)
    assert (note.lease, note.how) == (b"old-worker:1", "committed")
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 3


async def test_a_recovered_outcome_that_was_committed_before_is_not_counted_again(
    story: Story, restarted: Callable[..., ResultPublisher], metrics: Metrics
) -> None:
    """The former process died between the commit and its record."""
    story.answer = CommitStatus.REPEATED
    restarted(outcome_of())
    await turn(50)
    assert [note.how for note in story.noted if isinstance(note, ReleasedRecord)] == ["repeated"]
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 0


async def test_recovered_outcomes_are_committed_when_redis_is_back(
    story: Story, restarted: Callable[..., ResultPublisher]
) -> None:
    """Redis may be away at the start."""
    story.redis_failures = 3
    restarted(outcome_of())
    await turn(50)
    assert story.events == [*["commit failed"] * 3, "commit"]


async def test_a_fenced_outcome_is_published_when_its_job_is_claimed_again(
    story: Story, restarted: Callable[..., ResultPublisher]
) -> None:
    """Another worker had claimed the job and returned it: it is not signed again."""
    story.answer = CommitStatus.FENCED
    old = outcome_of()
    publisher = restarted(old)
    await turn(50)
    story.answer = CommitStatus.COMMITTED
    job = came_back()
    assert publisher.publish_recovered(job)
    assert not story.settled
    await turn(50)
    (commit,) = story.commits[-1]["acme"]
    assert (commit.lease, commit.result) == (b"worker:7", old.result)
    assert [type(record) for record in story.durable] == [OutcomeRecord]
    assert story.settled == [job], "the job is held until its result is published"
    assert not publisher.publish_recovered(came_back())


async def test_an_outcome_that_is_fenced_again_is_kept_for_the_next_claim(
    story: Story, restarted: Callable[..., ResultPublisher]
) -> None:
    """The lease ran out while the disk was slow: the job may come back once more, and is still not signed again."""
    story.answer = CommitStatus.FENCED
    publisher = restarted(outcome_of())
    await turn(50)
    for _ in range(2):
        assert publisher.publish_recovered(came_back())
        await turn(50)


async def test_recovered_outcomes_of_a_shard_that_is_away_hold_up_no_others(
    story: Story, restarted: Callable[..., ResultPublisher]
) -> None:
    """Results of the other tenant behind them are published at the start, and theirs when the shard answers again."""
    story.away = {"acme"}
    mine = [outcome_of(b"a%d" % i) for i in range(MOST_AT_ONCE + 1)]
    publisher = restarted(*mine, outcome_of(b"g", "globex"))
    await turn(50)
    released = [note.job_id for note in story.noted if isinstance(note, ReleasedRecord)]
    assert released == [b"g"]
    story.away = set()
    await until_turned(lambda: len(story.noted) == len(mine) + 1)
    assert not publisher.publish_recovered(came_back(b"a1"))


async def test_what_waited_for_redis_is_repeated_a_few_hundred_at_a_time(
    story: Story, publisher: ResultPublisher
) -> None:
    """In order, shared among the tenants: a result may be half a MiB."""
    story.away = {"acme", "globex"}
    finish(publisher, *(b"a%d" % i for i in range(MOST_AT_ONCE)))
    finish(publisher, b"g", tenant="globex")
    await until_turned(lambda: len(story.commits) > 2)
    assert {sum(map(len, commits.values())) for commits in story.commits[2:]} == {MOST_AT_ONCE // 2 + 1}
    story.away = set()
    await until_turned(lambda: len(story.settled) == MOST_AT_ONCE + 1)
    names = [job.claimed.job_id for job in story.settled if job.claimed.tenant == "acme"]
    assert names == [b"a%d" % i for i in range(MOST_AT_ONCE)]


class CountedPauses:
    """Pauses of no length; ``tries`` since the last success."""

    def __init__(self) -> None:
        self.tries = 0

    def next_s(self) -> float:
        self.tries += 1
        return 0.0

    def reset(self) -> None:
        self.tries = 0


async def test_the_pauses_begin_anew_when_some_tenant_was_answered(
    story: Story, publisher: ResultPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results left after a long outage are published without the long pauses of the outage."""
    pauses = CountedPauses()
    monkeypatch.setattr(committer, "pauses", lambda: pauses)
    story.away = {"acme"}
    finish(publisher, *(b"a%d" % i for i in range(3 * MOST_AT_ONCE)))
    await until_turned(lambda: pauses.tries > 8)
    story.away = set()
    await until_turned(lambda: len(story.settled) == 3 * MOST_AT_ONCE)
    assert pauses.tries == 0


async def test_a_published_outcome_is_not_published_for_a_later_job(
    restarted: Callable[..., ResultPublisher],
) -> None:
    """After its retention the same job may be signed again."""
    publisher = restarted(outcome_of())
    await turn(50)
    assert not publisher.publish_recovered(came_back())
