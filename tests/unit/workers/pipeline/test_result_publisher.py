"""Outcome durable, then committed under the lease, then settled: in that order, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing import ClientKey
from queueing.broker.claims import ClaimedJob, Commit, CommitStatus, Retention
from queueing.broker.dead_letters import DeadLetter
from queueing.errors import KeyUnknown, LogUnavailable, QueueUnavailable, QueueUnconfirmed, TokenUnavailable
from queueing.protocol.envelope import seal
from queueing.protocol.jobs import JobHints, WireError, encode_job
from tests.support.fake_lane import turn
from tests.support.jobs_in_work import claimed, envelope, job_in_work, signed
from workers.active_job import ActiveJob
from workers.journal.records import OutcomeRecord, Record, ReleasedRecord, ReturnedRecord
from workers.lanes.protocol import SliceOutcome
from workers.pipeline import result_publisher as module
from workers.pipeline.result_publisher import Releaser
from workers.telemetry.metrics import Metrics


@dataclass
class Story:
    """What happened, in order, and what is to fail."""

    events: list[str] = field(default_factory=list)
    noted: list[Record] = field(default_factory=list)
    durable: list[Record] = field(default_factory=list)
    commits: list[dict[str, list[Commit]]] = field(default_factory=list)
    released: list[tuple[list[bytes], bool, int]] = field(default_factory=list)
    settled: list[ActiveJob] = field(default_factory=list)
    log_failures: int = 0
    redis_failures: int = 0
    unconfirmed: int = 0
    refuse: set[str] = field(default_factory=set)
    answer: CommitStatus = CommitStatus.COMMITTED
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    draining: bool = False
    can_sign: bool = True


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

    def note(self, records: Sequence[Record]) -> None:
        self._story.noted += records


class FakeClaims:
    """Answers every commit as the story says."""

    def __init__(self, story: Story) -> None:
        self._story = story

    async def commit(
        self, commits: dict[str, list[Commit]], retention: Retention
    ) -> dict[str, list[CommitStatus] | QueueUnavailable]:
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
        refused, self._story.refuse = self._story.refuse, set()
        return {
            tenant: QueueUnavailable("WRONGTYPE") if tenant in refused else [self._story.answer] * len(batch)
            for tenant, batch in commits.items()
        }

    async def nack(self, jobs: dict[str, list[ClaimedJob]], *, counts: bool, delay_ms: int = 0) -> None:
        self._story.events.append("release")
        ids = [job.job_id for held in jobs.values() for job in held]
        self._story.released.append((ids, counts, delay_ms))


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    for pause in ("PACE_S", "SHORTEST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(module, pause, 0.0)
    made = Story()
    made.gate.set()
    return made


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def releaser_of(story: Story, metrics: Metrics) -> Releaser:
    def settled(job: ActiveJob) -> None:
        story.events.append("settled")
        story.settled.append(job)

    return Releaser(
        claims=FakeClaims(story),  # type: ignore[arg-type]
        wal=FakeLog(story),  # type: ignore[arg-type]
        retention=Retention(result_ms=1000),
        metrics=metrics,
        settled=settled,
        draining=lambda: story.draining,
        class_of=lambda _: "standard",
        can_sign=lambda _: story.can_sign,
        owner="w1",
    )


@pytest.fixture
async def releaser(story: Story, metrics: Metrics) -> AsyncIterator[Releaser]:
    made = releaser_of(story, metrics)
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def finish(releaser: Releaser, *names: bytes, tenant: str = "acme") -> list[ActiveJob]:
    """Jobs of one digest, all signed."""
    jobs = [job_in_work(releaser.finished, job_id=name, tenant=tenant) for name in names]
    for job in jobs:
        job.slice_done(0, signed(1))
    return jobs


async def until_turned(question: Callable[[], bool]) -> None:
    """Turn by turn, at most fifty."""
    for _ in range(50):
        if question():
            return
        await turn(1)
    pytest.fail("not within fifty turns")


async def test_nothing_is_committed_before_its_outcome_is_durable(story: Story, releaser: Releaser) -> None:
    """As long as the log takes."""
    story.gate.clear()
    (job,) = finish(releaser, b"a")
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


async def test_a_log_that_fails_releases_nothing_until_it_is_well(story: Story, releaser: Releaser) -> None:
    """However often it fails."""
    story.log_failures = 5
    finish(releaser, b"a")
    await turn(50)
    assert story.events == ["log failed"] * 5 + ["durable", "commit", "settled"]


async def test_a_commit_without_an_answer_is_sent_again_with_the_same_bytes(
    story: Story, releaser: Releaser
) -> None:
    """It may have been done: the same result under the same lease is the same commit."""
    story.redis_failures = 3
    finish(releaser, b"a")
    await turn(50)
    assert story.events == ["durable", *["commit failed"] * 3, "commit", "settled"]
    assert len({commits["acme"][0].result for commits in story.commits}) == 1


async def test_a_commit_that_replicas_do_not_have_is_repeated_until_they_do(
    story: Story, releaser: Releaser, metrics: Metrics
) -> None:
    """The same bytes, and the job stays ours: a primary that forgot them gets them again."""
    story.unconfirmed = 3
    story.answer = CommitStatus.REPEATED
    finish(releaser, b"a")
    await until_turned(lambda: releaser.unconfirmed)
    assert not story.settled
    await turn(50)
    assert story.events == ["durable", *["unconfirmed"] * 3, "commit", "settled"]
    assert len({commits["acme"][0].result for commits in story.commits}) == 1
    assert not releaser.unconfirmed
    assert metrics.redis_errors.labels("replicate")._value.get() == 3


async def test_one_tenants_damaged_keys_do_not_hold_up_the_others(story: Story, releaser: Releaser) -> None:
    """Theirs is committed once; the damaged one is tried again alone."""
    story.refuse = {"acme"}
    finish(releaser, b"a")
    finish(releaser, b"g", tenant="globex")
    await turn(50)
    assert [sorted(commits) for commits in story.commits] == [["acme", "globex"], ["acme"]]
    assert len(story.settled) == 2


async def test_jobs_that_finish_during_a_round_share_the_next(story: Story, releaser: Releaser) -> None:
    """One append, one commit."""
    story.gate.clear()
    finish(releaser, b"a")
    await turn()
    finish(releaser, b"b", b"c", b"d")
    story.gate.set()
    await turn(50)
    assert [len(commits["acme"]) for commits in story.commits] == [1, 3]


async def test_a_late_commit_is_noted_as_fenced(story: Story, releaser: Releaser, metrics: Metrics) -> None:
    """Another owner has the job: counted, recorded, and not a signature released."""
    story.answer = CommitStatus.FENCED
    finish(releaser, b"a")
    await turn()
    (note,) = story.noted
    assert isinstance(note, ReleasedRecord)
    assert note.how == "fenced"
    assert metrics.fenced.labels("acme")._value.get() == 1
    assert len(story.settled) == 1


async def test_a_repeated_commit_is_a_commit(story: Story, releaser: Releaser, metrics: Metrics) -> None:
    """The answer to the first was lost."""
    story.answer = CommitStatus.REPEATED
    finish(releaser, b"a")
    await turn()
    assert metrics.fenced.labels("acme")._value.get() == 0
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 1


async def test_failed_jobs_have_a_result_too(story: Story, releaser: Releaser, metrics: Metrics) -> None:
    """Durable and committed as any other; counted by their reason."""
    job_in_work(releaser.finished, 5).fail(KeyUnknown())
    await turn()
    assert story.events == ["durable", "commit", "settled"]
    assert metrics.failures.labels("acme", "ECDSA_SHA_256", "key.unknown")._value.get() == 5
    assert metrics.jobs.labels("acme", "key.unknown")._value.get() == 1


async def test_a_job_whose_token_went_away_keeps_its_place(story: Story, releaser: Releaser) -> None:
    """It does not count against the job; what may have been signed is noted."""
    job = job_in_work(releaser.finished, 2)
    job.slice_done(0, signed(1))
    job.slice_unavailable(1, 1)
    await turn()
    assert story.released == [([b"job"], False, 0)]
    (note,) = story.noted
    assert isinstance(note, ReturnedRecord)
    assert note.maybe_signed
    assert story.settled == [job]
    assert not story.commits


async def test_a_job_that_a_lane_gave_back_waits_a_little(story: Story, releaser: Releaser) -> None:
    """The token does not have its key now: it would go round in circles."""
    job = job_in_work(releaser.finished)
    job.slice_done(0, SliceOutcome(None, 1, b"", (None,), {0: WireError.of(TokenUnavailable())}))
    await turn()
    assert story.released == [([b"job"], False, 1000)]


async def test_a_job_that_no_lane_may_have_is_due_at_the_next_slow_poll(
    story: Story, releaser: Releaser
) -> None:
    """Not at once, for this worker would claim it again; and no later, for its token may be back."""
    job_in_work(releaser.finished).put_back(TokenUnavailable())
    await turn()
    assert story.released == [([b"job"], False, 500)]


async def test_a_job_that_no_lane_may_have_keeps_its_place_where_no_token_can_be_used(
    story: Story, releaser: Releaser
) -> None:
    """The tenant is not claimed here any more; another worker takes it at once."""
    story.can_sign = False
    job_in_work(releaser.finished).put_back(TokenUnavailable())
    await turn()
    assert story.released == [([b"job"], False, 0)]


async def test_while_no_token_can_be_used_all_jobs_keep_their_place(story: Story, releaser: Releaser) -> None:
    """Nobody claims them here, and their order is kept for when the HSM is back."""
    story.can_sign = False
    job_in_work(releaser.finished).slice_faulted(0, 1)
    await turn()
    assert story.released == [([b"job"], True, 0)]


@pytest.mark.parametrize("attempt, delay_ms", [(1, 1000), (2, 2000), (3, 4000), (4, 4000), (400, 4000)])
async def test_a_job_over_which_the_hsm_failed_waits_longer_each_time(
    story: Story, releaser: Releaser, attempt: int, delay_ms: int
) -> None:
    """The attempt counts; but it is tried until its envelope expires, and some seconds after the HSM is well."""
    job = ActiveJob(replace(claimed(), attempt=attempt), releaser.finished)
    job.read_as(b"sealed", envelope(1), JobHints(), 1)
    job.slice_faulted(0, 1)
    await turn()
    assert story.released == [([b"job"], True, delay_ms)]


async def test_a_poisoned_job_is_committed_with_its_dead_letter(story: Story, releaser: Releaser) -> None:
    """In one step with the result, and in the log before."""
    job_in_work(releaser.finished).slice_poisoned(0, 1, ["exit_5"])
    await turn()
    ((commit,),) = (batch for batches in story.commits for batch in batches.values())
    letter = msgspec.msgpack.decode(commit.dead_letter, type=DeadLetter)
    assert (letter.reason, letter.lane_ends, letter.worker) == ("job.poisoned", ("exit_5",), "w1")


async def test_a_worker_that_drains_gives_jobs_back_at_once(
    story: Story, releaser: Releaser, metrics: Metrics
) -> None:
    """To their old place in the queue: another worker is well."""
    story.draining = True
    job_in_work(releaser.finished).slice_unavailable(0, 1)
    await turn()
    assert story.released == [([b"job"], False, 0)]
    assert metrics.returned.labels("acme", "drain")._value.get() == 1


def outcome_of(job_id: bytes = b"a", tenant: str = "acme", *, digests: int = 1) -> OutcomeRecord:
    """As a former process made it durable."""
    job = job_in_work(lambda _: None, digests, job_id=job_id, tenant=tenant)
    job.slice_done(0, signed(digests))
    return OutcomeRecord(1, tenant, job_id, b"old-worker:1", "", job.result())


def came_back(job_id: bytes = b"a", tenant: str = "acme", *, digests: int = 1) -> ClaimedJob:
    """The job of ``outcome_of``, claimed again."""
    sealed = seal(envelope(digests), ClientKey.generate())
    return replace(claimed(job_id, tenant=tenant), payload=encode_job(sealed, JobHints(), 1))


@pytest.fixture
async def restarted(story: Story, metrics: Metrics) -> AsyncIterator[Callable[..., Releaser]]:
    """Makes a releaser that begins with these outcomes of a former process."""
    running: list[asyncio.Task[None]] = []

    def make(*outcomes: OutcomeRecord) -> Releaser:
        made = releaser_of(story, metrics)
        made.recovered(outcomes)
        running.append(asyncio.ensure_future(made.run()))
        return made

    yield make
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_was_not_released_is_released_at_the_start_under_its_old_lease(
    story: Story, restarted: Callable[..., Releaser], metrics: Metrics
) -> None:
    """Before anybody, on this host or another, claims the job and signs it again."""
    old = outcome_of(digests=3)
    restarted(old)
    await turn(50)
    (commit,) = story.commits[0]["acme"]
    assert (commit.lease, commit.result) == (b"old-worker:1", old.result)
    (note,) = story.noted
    assert isinstance(note, ReleasedRecord)
    assert (note.lease, note.how) == (b"old-worker:1", "committed")
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 3


async def test_what_the_former_process_had_released_is_recorded_and_not_counted_again(
    story: Story, restarted: Callable[..., Releaser], metrics: Metrics
) -> None:
    """It died between the commit and its record."""
    story.answer = CommitStatus.REPEATED
    restarted(outcome_of())
    await turn(50)
    assert [note.how for note in story.noted if isinstance(note, ReleasedRecord)] == ["repeated"]
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 0


async def test_redis_that_is_away_at_the_start_holds_up_no_recovery_for_good(
    story: Story, restarted: Callable[..., Releaser]
) -> None:
    """It is tried until it answers."""
    story.redis_failures = 3
    restarted(outcome_of())
    await turn(50)
    assert story.events == [*["commit failed"] * 3, "commit"]


async def test_a_recovered_outcome_that_was_fenced_is_published_when_its_job_comes_back(
    story: Story, restarted: Callable[..., Releaser]
) -> None:
    """Somebody had claimed the job and gave it back: it is not signed again."""
    story.answer = CommitStatus.FENCED
    old = outcome_of()
    releaser = restarted(old)
    await turn(50)
    story.answer = CommitStatus.COMMITTED
    assert releaser.published_before(came_back())
    await turn(50)
    (commit,) = story.commits[-1]["acme"]
    assert (commit.lease, commit.result) == (b"worker:7", old.result)
    assert [type(record) for record in story.durable] == [OutcomeRecord]


async def test_an_outcome_that_was_released_is_not_published_for_a_later_job(
    restarted: Callable[..., Releaser],
) -> None:
    """After its retention the same job may be signed anew."""
    releaser = restarted(outcome_of())
    await turn(50)
    assert not releaser.published_before(came_back())


async def test_what_goes_back_does_not_wait_for_what_the_log_holds_up(
    story: Story, releaser: Releaser
) -> None:
    """Unstarted leases are returned at once, also while the disk is away."""
    story.gate.clear()
    finish(releaser, b"a")
    await turn(50)
    job_in_work(releaser.finished, job_id=b"b").slice_unavailable(0, 1)
    await turn(50)
    assert story.released == [([b"b"], False, 0)]
    assert not story.commits
