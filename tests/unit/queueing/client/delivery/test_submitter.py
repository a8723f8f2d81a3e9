"""The sender and the lookups: what the queue did not take for sure, or lost, is sent again, with the same ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import pytest
from redis.asyncio import Redis

from queueing.aio.backoff import Backoff
from queueing.broker.job_state import QueuedState
from queueing.broker.submit import Receipt, Receipts, RemainingCapacity, Submission, SubmitStatus
from queueing.client.delivery.lost_jobs import LostJobRecovery
from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs
from queueing.client.delivery.submitter import Submitter
from queueing.config.redis import RedisConfig
from queueing.errors import LimitBacklog, QueueUnavailable, QueueUnconfirmed, SigningError, WaitTimeout
from queueing.protocol.envelope import Envelope
from queueing.redis.connection import connect
from tests.support.fake_lane import turn

NO_CAP = RemainingCapacity(backlog_digests=None, backlog_bytes=None, budget_digests=None)
UNCONFIRMED = Receipt(SubmitStatus.QUEUED, confirmed=False)
ACCEPTED = Receipt(SubmitStatus.ACCEPTED)
NO_ROOM = Receipt(SubmitStatus.REFUSED, refusal=LimitBacklog(retry_after_s=60.0))
Answer = list[Receipt] | SigningError


def submission(job_id: str) -> Submission:
    envelope = Envelope(
        audience="a",
        tenant="acme",
        client="ci",
        key="release",
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=0,
        expires_at_ms=1,
        idempotency_key=bytes(16),
        digests=(bytes(32),),
    )
    return Submission(job_id=job_id, envelope=envelope, sealed=b"s", content=b"c" * 16, reply_id="")


class Queue:
    """Answers as it is told, then accepts; remembers what was sent."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.sent: list[list[str]] = []

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        self.sent.append([s.job_id for s in submissions])
        answer = self.answers.pop(0) if self.answers else [ACCEPTED] * len(submissions)
        if isinstance(answer, SigningError):
            raise answer
        return Receipts(answer, NO_CAP)


class Desk:
    """A sender at work."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.callers = ExitStack()
        self.pending = PendingJobs(asyncio.get_running_loop().time)
        self.sender = Submitter(
            self.queue, self.pending, backoff=Backoff(first_s=0.0), randomness=lambda: 0.0
        )

    def post(self, job_id: str, *, to_confirm: bool = False) -> PendingJob:
        job, _ = self.callers.enter_context(self.pending.waiting(job_id, submission(job_id)))
        job.to_confirm = to_confirm
        self.sender.post(job)
        return job


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    running = asyncio.ensure_future(made.sender.run())
    yield made
    running.cancel()
    await asyncio.wait((running,))


async def test_unconfirmed_jobs_are_sent_again_in_their_order(desk: Desk) -> None:
    """They are in the queue or they are not: the same id makes both harmless."""
    desk.queue.answers = [[UNCONFIRMED] * 3, [UNCONFIRMED] * 3]
    jobs = [desk.post(job_id) for job_id in "abc"]
    await turn(50)
    assert desk.queue.sent == [["a", "b", "c"]] * 3
    assert all(job.accepted.done() and job.trouble is None for job in jobs)


async def test_what_the_caller_hears_at_the_deadline_is_why(desk: Desk) -> None:
    """Retryable, and not that Redis is away."""
    desk.queue.answers = [[UNCONFIRMED]] * 1000
    job = desk.post("a")
    await turn(5)
    assert not job.accepted.done()
    why = job.why_unanswered()
    assert why.reason == "queue.unconfirmed"
    assert why.retryable


async def test_only_what_is_unconfirmed_is_sent_again(desk: Desk) -> None:
    """A result is a result, and who was refused waits for room."""
    done = Receipt(SubmitStatus.DONE, b"result")
    desk.queue.answers = [[done, UNCONFIRMED, NO_ROOM]]
    finished, unsure, refused = [desk.post(job_id) for job_id in "abc"]
    await turn(50)
    assert desk.queue.sent == [["a", "b", "c"], ["b"]]
    assert finished.result.result() == b"result"
    assert unsure.accepted.done()
    assert refused.trouble is not None
    assert refused.trouble.reason == "limit.backlog"


async def test_a_result_that_comes_meanwhile_ends_the_asking(desk: Desk) -> None:
    """The primary had the job, and a worker signed it."""
    desk.queue.answers = [[UNCONFIRMED]] * 3
    desk.post("a")
    await turn(2)
    desk.pending.settle("a", b"result")
    sent = len(desk.queue.sent)
    await turn(50)
    assert len(desk.queue.sent) <= sent + 1


async def test_a_submit_is_not_confirmed_by_a_result(desk: Desk) -> None:
    """What one server signed and forgets in a failover is not accepted: the caller may not wait for it himself."""
    desk.queue.answers = [[UNCONFIRMED], [Receipt(SubmitStatus.DONE, b"result", confirmed=False)]]
    job = desk.post("a", to_confirm=True)
    await turn(1)
    desk.pending.settle("a", b"result")
    assert not job.accepted.done()
    await turn(50)
    assert desk.queue.sent == [["a"]] * 3
    assert job.accepted.done()
    assert job.result.result() == b"result"


async def test_a_queue_that_cannot_be_reached_is_tried_again(desk: Desk) -> None:
    """With everything that was on the way."""
    desk.queue.answers = [QueueUnavailable(), QueueUnavailable()]
    job = desk.post("a")
    await turn(50)
    assert desk.queue.sent == [["a"]] * 3
    assert job.accepted.done()


async def all_lost(redis: Redis, tenant: str, job_ids: Sequence[str]) -> list[QueuedState]:
    """What a server that was promoted without them says."""
    return [QueuedState(result=None, has_job=False, due_ms=None, leased=False)] * len(job_ids)


@pytest.fixture
def lookups(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> LostJobRecovery:
    """Each finds every job lost."""
    monkeypatch.setattr("queueing.client.delivery.lost_jobs.look_up", all_lost)
    redis = connect(RedisConfig(unix_socket="/nowhere"))
    return LostJobRecovery(redis, "acme", desk.pending, desk.sender)


async def test_a_lost_job_that_waits_for_room_is_posted_once(desk: Desk, lookups: LostJobRecovery) -> None:
    """However often it is looked up meanwhile: each post would wait for room, and come again, for itself."""
    job = desk.post("a")
    await turn()
    desk.queue.answers = [[NO_ROOM]] * 1000
    for _ in range(4):
        await lookups._look_up([job])
        await turn()
    assert desk.queue.sent == [["a"]] * 2


async def test_a_job_that_is_lost_once_more_is_sent_once_more(
    desk: Desk, lookups: LostJobRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had found room, after a refusal and a Redis that was away: it is in nobody's hands again."""
    monkeypatch.setattr("queueing.client.delivery.submitter.wait_after", lambda *_: 0.0)
    job = desk.post("a")
    await turn()
    desk.queue.answers = [[NO_ROOM], QueueUnavailable(), [UNCONFIRMED]]
    for sent in (5, 6):
        await lookups._look_up([job])
        await turn(50)
        assert desk.queue.sent == [["a"]] * sent


async def queued(redis: Redis, tenant: str, job_ids: Sequence[str]) -> list[QueuedState]:
    """What a server says that has them all, and is done with none."""
    return [QueuedState(result=None, has_job=True, due_ms=1.0, leased=False)] * len(job_ids)


async def test_a_bare_id_that_a_lookup_found_goes_on(
    desk: Desk, lookups: LostJobRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives up on it hears that it is in the queue, and before that, that nobody has said so."""
    monkeypatch.setattr("queueing.client.delivery.lost_jobs.look_up", queued)
    job, _ = desk.callers.enter_context(desk.pending.waiting("a"))
    assert isinstance(job.why_unanswered(), QueueUnavailable)
    await lookups._look_up([job])
    why = job.why_unanswered()
    assert isinstance(why, WaitTimeout)
    assert why.job_ids == ("a",)


async def test_closing_tells_a_submit_that_it_is_not_confirmed(desk: Desk) -> None:
    """Also where one server has signed it: the result is no sign that a failover keeps the job."""
    desk.queue.answers = [[UNCONFIRMED]] * 1000
    job = desk.post("a", to_confirm=True)
    await turn(5)
    desk.pending.settle("a", b"result")
    desk.pending.close()
    assert isinstance(job.accepted.result(), QueueUnconfirmed)
    assert job.result.result() == b"result"


async def test_closing_takes_back_no_yes(desk: Desk) -> None:
    """What the queue has accepted is accepted; its result is what does not come."""
    job = desk.post("a")
    await turn()
    desk.pending.close()
    assert job.accepted.result() is None
    assert isinstance(job.result.result(), WaitTimeout)
