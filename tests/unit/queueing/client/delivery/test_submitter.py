"""Submitter and lost-job recovery: jobs that the queue did not confirm, or lost, are sent again under the same ids."""

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
from tests.support.fakes.fake_lane import turn

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


class SubmitterStack:
    """A submitter over a queue that the test scripts, with its pending jobs."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.callers = ExitStack()
        self.pending = PendingJobs(asyncio.get_running_loop().time)
        self.submitter = Submitter(
            self.queue, self.pending, backoff=Backoff(first_s=0.0), randomness=lambda: 0.0
        )

    def post(self, job_id: str, *, to_confirm: bool = False) -> PendingJob:
        job, _ = self.callers.enter_context(self.pending.waiting(job_id, submission(job_id)))
        job.to_confirm = to_confirm
        self.submitter.post(job)
        return job


@pytest.fixture
async def stack() -> AsyncIterator[SubmitterStack]:
    made = SubmitterStack()
    running = asyncio.ensure_future(made.submitter.run())
    yield made
    running.cancel()
    await asyncio.wait((running,))


async def test_unconfirmed_jobs_are_sent_again_in_their_order(stack: SubmitterStack) -> None:
    """Jobs that too few replicas confirmed are submitted again in order; the same id makes a repeat harmless."""
    stack.queue.answers = [[UNCONFIRMED] * 3, [UNCONFIRMED] * 3]
    jobs = [stack.post(job_id) for job_id in "abc"]
    await turn(50)
    assert stack.queue.sent == [["a", "b", "c"]] * 3
    assert all(job.accepted.done() and job.trouble is None for job in jobs)


async def test_the_error_at_the_deadline_names_the_reason(stack: SubmitterStack) -> None:
    """An unconfirmed submit fails at the deadline as ``queue.unconfirmed``, retryable, and not as an outage of Redis."""
    stack.queue.answers = [[UNCONFIRMED]] * 1000
    job = stack.post("a")
    await turn(5)
    assert not job.accepted.done()
    why = job.why_unanswered()
    assert why.reason == "queue.unconfirmed"
    assert why.retryable


async def test_only_what_is_unconfirmed_is_sent_again(stack: SubmitterStack) -> None:
    """A finished job is not sent again, and a refused one waits for backlog capacity."""
    done = Receipt(SubmitStatus.DONE, b"result")
    stack.queue.answers = [[done, UNCONFIRMED, NO_ROOM]]
    finished, unsure, refused = [stack.post(job_id) for job_id in "abc"]
    await turn(50)
    assert stack.queue.sent == [["a", "b", "c"], ["b"]]
    assert finished.result.result() == b"result"
    assert unsure.accepted.done()
    assert refused.trouble is not None
    assert refused.trouble.reason == "limit.backlog"


async def test_a_result_that_comes_meanwhile_ends_the_retries(stack: SubmitterStack) -> None:
    """A result, from a primary that had the job, ends the retries of its unconfirmed submit."""
    stack.queue.answers = [[UNCONFIRMED]] * 3
    stack.post("a")
    await turn(2)
    stack.pending.settle("a", b"result")
    sent = len(stack.queue.sent)
    await turn(50)
    assert len(stack.queue.sent) <= sent + 1


async def test_a_submit_is_not_confirmed_by_a_result(stack: SubmitterStack) -> None:
    """A result of an unconfirmed job does not accept it: a failover may lose both, and the caller may not wait for it."""
    stack.queue.answers = [[UNCONFIRMED], [Receipt(SubmitStatus.DONE, b"result", confirmed=False)]]
    job = stack.post("a", to_confirm=True)
    await turn(1)
    stack.pending.settle("a", b"result")
    assert not job.accepted.done()
    await turn(50)
    assert stack.queue.sent == [["a"]] * 3
    assert job.accepted.done()
    assert job.result.result() == b"result"


async def test_a_queue_that_cannot_be_reached_is_tried_again(stack: SubmitterStack) -> None:
    """After an outage of Redis the same batch is submitted again."""
    stack.queue.answers = [QueueUnavailable(), QueueUnavailable()]
    job = stack.post("a")
    await turn(50)
    assert stack.queue.sent == [["a"]] * 3
    assert job.accepted.done()


async def all_lost(redis: Redis, tenant: str, job_ids: Sequence[str]) -> list[QueuedState]:
    """Answer of a server that was promoted without the jobs."""
    return [QueuedState(result=None, has_job=False, due_ms=None, leased=False)] * len(job_ids)


@pytest.fixture
def lookups(stack: SubmitterStack, monkeypatch: pytest.MonkeyPatch) -> LostJobRecovery:
    """A recovery whose lookups find every job lost."""
    monkeypatch.setattr("queueing.client.delivery.lost_jobs.look_up", all_lost)
    redis = connect(RedisConfig(unix_socket="/nowhere"))
    return LostJobRecovery(redis, "acme", stack.pending, stack.submitter)


async def test_a_lost_job_that_waits_for_room_is_posted_once(
    stack: SubmitterStack, lookups: LostJobRecovery
) -> None:
    """A job that waits for backlog capacity is not posted by each lookup: every post would be retried for itself."""
    job = stack.post("a")
    await turn()
    stack.queue.answers = [[NO_ROOM]] * 1000
    for _ in range(4):
        await lookups._look_up([job])
        await turn()
    assert stack.queue.sent == [["a"]] * 2


async def test_a_job_that_is_lost_once_more_is_sent_once_more(
    stack: SubmitterStack, lookups: LostJobRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was accepted after a refusal and an outage is posted again when a later lookup finds it lost."""
    monkeypatch.setattr("queueing.client.delivery.submitter.wait_after", lambda *_: 0.0)
    job = stack.post("a")
    await turn()
    stack.queue.answers = [[NO_ROOM], QueueUnavailable(), [UNCONFIRMED]]
    for sent in (5, 6):
        await lookups._look_up([job])
        await turn(50)
        assert stack.queue.sent == [["a"]] * sent


async def queued(redis: Redis, tenant: str, job_ids: Sequence[str]) -> list[QueuedState]:
    """Answer of a server that has all the jobs queued."""
    return [QueuedState(result=None, has_job=True, due_ms=1.0, leased=False)] * len(job_ids)


async def test_a_bare_id_that_a_lookup_found_goes_on(
    stack: SubmitterStack, lookups: LostJobRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that gives up on a bare id gets ``WaitTimeout`` once a lookup found the job, and ``QueueUnavailable`` before."""
    monkeypatch.setattr("queueing.client.delivery.lost_jobs.look_up", queued)
    job, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    assert isinstance(job.why_unanswered(), QueueUnavailable)
    await lookups._look_up([job])
    why = job.why_unanswered()
    assert isinstance(why, WaitTimeout)
    assert why.job_ids == ("a",)


async def test_closing_tells_a_submit_that_it_is_not_confirmed(stack: SubmitterStack) -> None:
    """Closing fails an unconfirmed submit, also where a result came: a failover may still lose the job."""
    stack.queue.answers = [[UNCONFIRMED]] * 1000
    job = stack.post("a", to_confirm=True)
    await turn(5)
    stack.pending.settle("a", b"result")
    stack.pending.close()
    assert isinstance(job.accepted.result(), QueueUnconfirmed)
    assert job.result.result() == b"result"


async def test_closing_keeps_an_accepted_job_accepted(stack: SubmitterStack) -> None:
    """Closing leaves an accepted job accepted, and fails the wait for its result."""
    job = stack.post("a")
    await turn()
    stack.pending.close()
    assert job.accepted.result() is None
    assert isinstance(job.result.result(), WaitTimeout)
