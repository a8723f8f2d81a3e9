"""Publication of results: outcome durable, committed under the lease, settled, in that order, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from queueing import ClientKey
from queueing.broker.claims import CommitStatus
from queueing.broker.dead_letters import DeadLetter
from queueing.errors import (
    EnvelopeMalformed,
    EnvelopeSignature,
    KeyUnknown,
    ResultInvalid,
)
from queueing.protocol.envelope import seal
from queueing.protocol.jobs import JobHints, JobOutcome, decode_result, encode_job
from tests.support.fakes.active_jobs import FINGERPRINT, claimed, envelope, job_in_work, one_sink, signed
from tests.support.fakes.publication import FakeLog, Publication, committer_of, until_turned
from tests.support.waiting import turn
from workers.active_job import ActiveJob
from workers.job_result import encode_job_result
from workers.journal.event_records import RefusedRecord
from workers.journal.journal import WriteAheadLog
from workers.journal.records import MAX_RECORD_BYTES, OutcomeRecord, ReleasedRecord, encode_record
from workers.journal.segments import frame
from workers.lanes.protocol import SliceOutcome
from workers.pipeline import committer, result_publisher
from workers.pipeline.committer import MOST_AT_ONCE
from workers.pipeline.forgeries import ForgeryGuard
from workers.pipeline.recovered_results import RecoveredResults
from workers.pipeline.result_publisher import ResultPublisher
from workers.telemetry.metrics import Metrics


@pytest.fixture
def publication(monkeypatch: pytest.MonkeyPatch) -> Publication:
    monkeypatch.setattr(result_publisher, "PACE_S", 0.0)
    for pause in ("FIRST_PAUSE_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(committer, pause, 0.0)
    made = Publication()
    made.gate.set()
    return made


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def publisher_of(
    publication: Publication, metrics: Metrics, guard: ForgeryGuard | None = None
) -> ResultPublisher:
    recovered = RecoveredResults()
    return ResultPublisher(
        committer_of(publication, metrics, recovered),
        wal=cast("WriteAheadLog", FakeLog(publication)),
        recovered=recovered,
        forgeries=guard or ForgeryGuard(Path("unused")),
        owner="w1",
    )


@pytest.fixture
async def publisher(publication: Publication, metrics: Metrics) -> AsyncIterator[ResultPublisher]:
    made = publisher_of(publication, metrics)
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


async def test_nothing_is_committed_before_its_outcome_is_durable(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """The commit waits as long as the log takes."""
    publication.gate.clear()
    (job,) = finish(publisher, b"a")
    await turn()
    assert not publication.commits
    publication.gate.set()
    await turn()
    assert publication.events == ["durable", "commit", "settled"]
    (outcome,) = publication.durable
    assert isinstance(outcome, OutcomeRecord)
    ((commit,),) = publication.commits[0].values()
    assert (commit.job_id, commit.lease, commit.result) == (b"a", b"worker:7", outcome.result)
    assert publication.settled == [job]
    assert [type(record) for record in publication.noted] == [ReleasedRecord]


async def test_while_the_log_fails_nothing_is_committed(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """The append is repeated until it succeeds."""
    publication.log_failures = 5
    finish(publisher, b"a")
    await turn(50)
    assert publication.events == ["log failed"] * 5 + ["durable", "commit", "settled"]


async def test_an_unauthenticated_job_is_committed_without_a_record(
    publication: Publication, publisher: ResultPublisher, metrics: Metrics, caplog: pytest.LogCaptureFixture
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
    assert sum(len(commits["acme"]) for commits in publication.commits) == 52
    assert {record.job_id for record in publication.durable if isinstance(record, OutcomeRecord)} == {
        b"known",
        b"intended",
    }
    assert {record.job_id for record in publication.noted if isinstance(record, ReleasedRecord)} == {
        b"known",
        b"intended",
    }
    assert metrics.unauthenticated_jobs.labels("acme", "envelope.malformed")._value.get() == 50
    assert metrics.unauthenticated_jobs.labels("acme", "envelope.signature")._value.get() == 1
    lines = [record for record in caplog.records if record.msg == "jobs.unauthenticated"]
    assert len(lines) == 1
    assert len(lines[0].job_id) <= 256  # type: ignore[attr-defined]
    assert len(publication.settled) == 52


async def test_a_refusal_before_any_lane_is_in_the_log_in_words(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """Client, key and number of digests, which no intent has; a job with an intent needs none of it, nor one that is signed."""
    known = job_in_work(publisher, job_id=b"known")
    known.authenticated, known.intended = True, False
    known.fail(KeyUnknown())
    intended = job_in_work(publisher, job_id=b"intended")
    intended.authenticated = intended.intended = True
    intended.fail(KeyUnknown())
    finish(publisher, b"signed")
    await turn(50)
    refusal, *others = [record for record in publication.durable if isinstance(record, RefusedRecord)]
    assert others == []
    wanted = known.envelope
    assert wanted is not None
    assert (refusal.tenant, refusal.job_id, refusal.code) == ("acme", b"known", "key.unknown")
    assert (refusal.client, refusal.key, refusal.algorithm, refusal.digests) == (
        wanted.client,
        wanted.key,
        wanted.algorithm,
        len(wanted.digests),
    )


async def test_the_log_says_how_many_signatures_of_a_refused_job_were_dropped(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """Its result has the error alone, although the HSM has signed."""
    job = job_in_work(publisher, 6)
    job.slice_done(0, signed(2))
    job.slice_refused(2, 4, KeyUnknown())
    await turn()
    (outcome,) = publication.durable
    assert isinstance(outcome, OutcomeRecord)
    assert isinstance(decode_result(outcome.result).outcome, KeyUnknown)
    assert outcome.dropped == 2


async def test_a_result_that_the_log_cannot_hold_becomes_an_error(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """Neither log nor publisher ends over one job. The log counts the signature that is not published."""
    huge = job_in_work(publisher, job_id=b"huge")
    huge.slice_done(0, SliceOutcome(None, 3, FINGERPRINT, (b"s" * (MAX_RECORD_BYTES + 1),)))
    finish(publisher, b"a")
    await turn()
    results = {c.job_id: decode_result(c.result).outcome for c in publication.commits[0]["acme"]}
    assert isinstance(results[b"huge"], ResultInvalid)
    assert isinstance(results[b"a"], JobOutcome)
    for record in publication.durable:
        frame(encode_record(record))
    outcomes = [record for record in publication.durable if isinstance(record, OutcomeRecord)]
    assert {record.job_id: record.dropped for record in outcomes} == {b"huge": 1, b"a": 0}


async def test_jobs_that_finish_during_a_round_share_the_next(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """One append and one commit for all of them."""
    publication.gate.clear()
    finish(publisher, b"a")
    await turn()
    finish(publisher, b"b", b"c", b"d")
    publication.gate.set()
    await turn(50)
    assert [len(commits["acme"]) for commits in publication.commits] == [1, 3]
    assert publication.events.count("durable") == 2


async def test_what_is_signed_while_a_commit_hangs_is_durable_meanwhile(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """A worker that ends while Redis does not answer leaves it to the next start, which signs none of it again."""
    publication.redis_hangs = True
    finish(publisher, b"a")
    await turn(50)
    finish(publisher, b"b")
    await turn(50)
    finish(publisher, b"c")
    await turn(50)
    assert [o.job_id for o in publication.durable if isinstance(o, OutcomeRecord)] == [b"a", b"b", b"c"]
    publication.redis_hangs = False
    await turn(50)
    assert [len(commits["acme"]) for commits in publication.commits] == [1, 2], (
        "one commit for all that waited"
    )
    assert len(publication.settled) == 3


async def test_failed_jobs_have_a_result_too(
    publication: Publication, publisher: ResultPublisher, metrics: Metrics
) -> None:
    """It is durable and committed as any other, and counted by its reason."""
    job_in_work(publisher, 5).fail(KeyUnknown())
    await turn()
    assert publication.events == ["durable", "commit", "settled"]
    assert metrics.failures.labels("acme", "ECDSA_SHA_256", "key.unknown")._value.get() == 5
    assert metrics.jobs.labels("acme", "key.unknown")._value.get() == 1


async def test_a_poisoned_job_is_committed_with_its_dead_letter(
    publication: Publication, publisher: ResultPublisher
) -> None:
    """The dead letter is part of the commit, and of the record in the log."""
    job_in_work(publisher).slice_poisoned(0, 1, ["exit_5"])
    await turn()
    ((commit,),) = (batch for batches in publication.commits for batch in batches.values())
    letter = msgspec.msgpack.decode(commit.dead_letter, type=DeadLetter)
    assert (letter.reason, letter.lane_ends, letter.worker) == ("job.poisoned", ("exit_5",), "w1")
    (outcome,) = publication.durable
    assert isinstance(outcome, OutcomeRecord)
    assert outcome.dead_letter == commit.dead_letter


def outcome_of(job_id: bytes = b"a", tenant: str = "acme", *, digests: int = 1) -> OutcomeRecord:
    """An outcome that a former process made durable."""
    job = job_in_work(None, digests, job_id=job_id, tenant=tenant)
    job.slice_done(0, signed(digests))
    return OutcomeRecord(1, tenant, job_id, b"old-worker:1", "", encode_job_result(job))


def came_back(job_id: bytes = b"a", tenant: str = "acme", *, digests: int = 1) -> ActiveJob:
    """The job of ``outcome_of``, claimed again."""
    sealed = seal(envelope(digests), ClientKey.generate())
    again = replace(claimed(job_id, tenant=tenant), payload=encode_job(sealed, JobHints(), 1))
    return ActiveJob(again, one_sink())


@pytest.fixture
async def restarted(
    publication: Publication, metrics: Metrics
) -> AsyncIterator[Callable[..., ResultPublisher]]:
    """Makes a publisher that begins with these outcomes of a former process."""
    running: list[asyncio.Task[None]] = []

    def make(*outcomes: OutcomeRecord) -> ResultPublisher:
        made = publisher_of(publication, metrics)
        made.add_recovered(outcomes)
        running.append(asyncio.ensure_future(made.run()))
        return made

    yield make
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_recovered_outcomes_are_committed_at_the_start_under_their_old_lease(
    publication: Publication, restarted: Callable[..., ResultPublisher], metrics: Metrics
) -> None:
    """The commit has the old lease and result; it is in the log, and its signatures are counted."""
    old = outcome_of(digests=3)
    restarted(old)
    await turn(50)
    (commit,) = publication.commits[0]["acme"]
    assert (commit.lease, commit.result) == (b"old-worker:1", old.result)
    (note,) = publication.noted
    assert isinstance(note, ReleasedRecord)
    assert (note.lease, note.how) == (b"old-worker:1", "committed")
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 3


async def test_a_recovered_outcome_that_was_committed_before_is_not_counted_again(
    publication: Publication, restarted: Callable[..., ResultPublisher], metrics: Metrics
) -> None:
    """The former process died between the commit and its record."""
    publication.answer = CommitStatus.REPEATED
    restarted(outcome_of())
    await turn(50)
    assert [note.how for note in publication.noted if isinstance(note, ReleasedRecord)] == ["repeated"]
    assert metrics.signatures.labels("acme", "ECDSA_SHA_256")._value.get() == 0


async def test_recovered_outcomes_are_committed_when_redis_is_back(
    publication: Publication, restarted: Callable[..., ResultPublisher]
) -> None:
    """Redis may be away at the start."""
    publication.redis_failures = 3
    restarted(outcome_of())
    await turn(50)
    assert publication.events == [*["commit failed"] * 3, "commit"]


async def test_a_fenced_outcome_is_published_when_its_job_is_claimed_again(
    publication: Publication, restarted: Callable[..., ResultPublisher]
) -> None:
    """Another worker had claimed the job and returned it: it is not signed again."""
    publication.answer = CommitStatus.FENCED
    old = outcome_of()
    publisher = restarted(old)
    await turn(50)
    publication.answer = CommitStatus.COMMITTED
    job = came_back()
    assert publisher.publish_recovered(job)
    assert not publication.settled
    await turn(50)
    (commit,) = publication.commits[-1]["acme"]
    assert (commit.lease, commit.result) == (b"worker:7", old.result)
    assert [type(record) for record in publication.durable] == [OutcomeRecord]
    assert publication.settled == [job], "the job is held until its result is published"
    assert not publisher.publish_recovered(came_back())


async def test_an_outcome_that_is_fenced_again_is_kept_for_the_next_claim(
    publication: Publication, restarted: Callable[..., ResultPublisher]
) -> None:
    """The lease ran out while the disk was slow: the job may come back once more, and is still not signed again."""
    publication.answer = CommitStatus.FENCED
    publisher = restarted(outcome_of())
    await turn(50)
    for _ in range(2):
        assert publisher.publish_recovered(came_back())
        await turn(50)


async def test_recovered_outcomes_of_a_shard_that_is_away_hold_up_no_others(
    publication: Publication, restarted: Callable[..., ResultPublisher]
) -> None:
    """Results of the other tenant behind them are published at the start, and theirs when the shard answers again."""
    publication.away = {"acme"}
    mine = [outcome_of(b"a%d" % i) for i in range(MOST_AT_ONCE + 1)]
    publisher = restarted(*mine, outcome_of(b"g", "globex"))
    await turn(50)
    released = [note.job_id for note in publication.noted if isinstance(note, ReleasedRecord)]
    assert released == [b"g"]
    publication.away = set()
    await until_turned(lambda: len(publication.noted) == len(mine) + 1)
    assert not publisher.publish_recovered(came_back(b"a1"))


async def test_a_published_outcome_is_not_published_for_a_later_job(
    restarted: Callable[..., ResultPublisher],
) -> None:
    """After its retention the same job may be signed again."""
    publisher = restarted(outcome_of())
    await turn(50)
    assert not publisher.publish_recovered(came_back())


def test_the_guard_of_the_log_is_told_before_anything_is_published(
    publication: Publication, metrics: Metrics
) -> None:
    """An attacker who keeps Redis, and with it the results, back would put intents into the log meanwhile."""
    guard = ForgeryGuard(Path("unused"))
    forged = job_in_work()
    forged.failure = EnvelopeSignature()
    publisher_of(publication, metrics, guard).finished(forged)
    assert guard.must_verify("acme", 1)
    assert publication.events == []
