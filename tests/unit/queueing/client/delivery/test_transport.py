"""Transport: callers of one job share it, give up without harm to each other, and learn why nothing came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from queueing.broker.submissions import Receipt, SubmitStatus
from queueing.client.delivery.transport import Transport
from queueing.config.redis import RedisConfig
from queueing.errors import JobConflict, LimitBacklog, QueueUnavailable, WaitTimeout
from queueing.redis.connection import connect
from tests.support.fakes.queue_access import access_to
from tests.support.fakes.submitting import NO_ROOM, FakeQueue, submission
from tests.support.waiting import turn

NOW = 0.0
"""A deadline that has passed by any loop's clock."""


@dataclass
class TransportSetup:
    """A transport over a queue that the test plays; Redis itself is never asked."""

    queue: FakeQueue
    transport: Transport


@pytest.fixture
async def setup(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TransportSetup]:
    """Only the submitter runs: results come from the test."""
    queue = FakeQueue()

    access = access_to(connect(RedisConfig(unix_socket="/nowhere")))
    monkeypatch.setattr(access, "submit", queue.submit)
    made = Transport(access)
    submitting, *others = made.loops()
    for loop in others:
        loop.close()
    running = asyncio.ensure_future(submitting)
    yield TransportSetup(queue, made)
    running.cancel()
    await asyncio.wait((running,))


async def test_two_callers_of_one_job_submit_it_once_and_share_its_result(setup: TransportSetup) -> None:
    """The job id is the same where the request is: the queue sees one job."""
    calls = [asyncio.ensure_future(setup.transport.result_of(submission("a"), None)) for _ in range(2)]
    await turn()
    assert setup.queue.sent == [["a"]]
    assert setup.transport.busy
    setup.transport.pending.pushed("a", b"result")
    assert await asyncio.gather(*calls) == [b"result"] * 2
    assert not setup.transport.busy


async def test_a_caller_that_gives_up_takes_the_result_from_no_other_caller(setup: TransportSetup) -> None:
    """Its own error has the job id, with which the result can be fetched later."""
    patient = asyncio.ensure_future(setup.transport.result_of(submission("a"), None))
    await turn()
    with pytest.raises(WaitTimeout) as given_up:
        await setup.transport.result_of(submission("a"), NOW)
    assert given_up.value.job_ids == ("a",)
    cancelled = asyncio.ensure_future(setup.transport.result_by_id("a", None))
    await turn()
    cancelled.cancel()
    await asyncio.wait((cancelled,))
    setup.transport.pending.pushed("a", b"result")
    assert await patient == b"result"


async def test_the_deadline_of_a_job_that_the_queue_has_not_taken_tells_why(setup: TransportSetup) -> None:
    """A refusal for want of room is told as that, and not as a result that was late."""
    setup.queue.answers = [[NO_ROOM]]
    other = asyncio.ensure_future(setup.transport.result_of(submission("a"), None))
    await turn()
    with pytest.raises(LimitBacklog):
        await setup.transport.result_of(submission("a"), NOW)
    assert isinstance(setup.transport.why_unanswered("a"), LimitBacklog)
    other.cancel()
    await asyncio.wait((other,))


async def test_accept_returns_when_the_queue_has_all_jobs(setup: TransportSetup) -> None:
    """It does not wait for their results."""
    await setup.transport.accept([submission("a"), submission("b")], None)
    assert setup.queue.sent == [["a", "b"]]
    assert not setup.transport.busy


async def test_accept_raises_the_refusal_of_one_of_its_jobs(setup: TransportSetup) -> None:
    """Another job has the id."""
    setup.queue.answers = [[Receipt(SubmitStatus.ACCEPTED), Receipt(SubmitStatus.CONFLICT)]]
    with pytest.raises(JobConflict):
        await setup.transport.accept([submission("a"), submission("b")], None)


async def test_accept_without_an_answer_by_the_deadline_may_have_been_accepted(setup: TransportSetup) -> None:
    """The error is retryable, and says that nothing is known."""
    setup.queue.hangs = True
    with pytest.raises(QueueUnavailable, match="may have taken the job"):
        await setup.transport.accept([submission("a")], NOW)


async def test_closing_fails_the_calls_that_still_wait(setup: TransportSetup) -> None:
    """With the reason, and not with a cancellation that looks like the caller's own."""
    waiting = asyncio.ensure_future(setup.transport.result_of(submission("a"), None))
    await turn()
    await setup.transport.close()
    with pytest.raises(WaitTimeout, match="the client was closed"):
        await waiting
