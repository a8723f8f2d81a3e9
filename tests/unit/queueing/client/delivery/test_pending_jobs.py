"""Table of pending jobs: its callers, the times of lookups, and the error of a caller that stops waiting."""

from __future__ import annotations

import asyncio
import math

from queueing.broker.submissions import SubmitStatus
from queueing.client.delivery.pending_jobs import PendingJobs
from queueing.errors import JobConflict, LimitBacklog, QueueUnavailable, WaitTimeout
from queueing.protocol.jobs import ArqResult, ResultHints, WireError, encode_result
from tests.support.fakes.submitting import submission


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_callers_of_one_job_share_its_result() -> None:
    """The second caller finds the job in the table, and both have the answer."""
    pending = PendingJobs(Clock())
    with pending.waiting("a", None) as (first, new), pending.waiting("a") as (second, again):
        assert (first is second, new, again) == (True, True, False)
        pending.pushed("a", b"result")
        assert first.result.result() == b"result"
    assert len(pending) == 0


def result_of(content: bytes) -> bytes:
    """A result of a job with this content, as a worker writes it."""
    error = WireError.of(LimitBacklog("too much"))
    return encode_result(
        ArqResult(k=ResultHints(h=content), et=0, s=False, r=error, st=0, ft=0, q="", id="a")
    )


async def test_a_submit_that_is_not_answered_is_not_looked_up_for_the_result_of_its_id() -> None:
    """It may be of other digests; calls that wait for the id alone, or whose job the queue has, are looked up at once."""
    pending = PendingJobs(Clock())
    ours = submission("a", b"o" * 16)
    with pending.waiting("a") as (by_id, _), pending.waiting("a", ours) as (job, _):
        pending.due(10)
        pending.look_up_unsettled("a")
        assert pending.due(10) == [by_id]
        pending.accept(job, SubmitStatus.ACCEPTED)
        pending.look_up_unsettled("a")
        assert pending.due(10) == [by_id, job]


async def test_calls_with_other_digests_under_one_id_have_an_answer_each() -> None:
    """The conflict of the one is not the answer of the other, nor of those that wait for the id alone."""
    pending = PendingJobs(Clock())
    with (
        pending.waiting("a", submission("a", b"mine")) as (mine, _),
        pending.waiting("a", submission("a", b"other")) as (other, new),
        pending.waiting("a") as (by_id, _),
    ):
        assert new
        pending.settle(other, JobConflict())
        assert not mine.accepted.done()
        assert not mine.result.done()
        assert not by_id.result.done()
        assert pending.job_ids() == ("a",)
        pending.pushed("a", b"result")
        assert mine.result.result() == by_id.result.result() == b"result"
        assert isinstance(other.result.result(), JobConflict)
    assert len(pending) == 0


async def test_a_pushed_result_of_other_digests_accepts_no_submit() -> None:
    """The queue has not answered the submit yet, and will do so with a conflict; the accepted job has its result."""
    pending = PendingJobs(Clock())
    with (
        pending.waiting("a", submission("a", b"mine")) as (mine, _),
        pending.waiting("a", submission("a", b"other")) as (other, _),
    ):
        pending.pushed("a", result_of(b"mine"))
        assert mine.accepted.done()
        assert not other.accepted.done()
        assert not other.result.done()


async def test_a_job_leaves_the_table_with_its_last_caller() -> None:
    """Until then the events say that there is something to wait for."""
    pending = PendingJobs(Clock())
    with pending.waiting("a"):
        with pending.waiting("a"):
            assert pending.some.is_set()
        assert pending.job_ids() == ("a",)
        assert pending.some.is_set()
    assert pending.job_ids() == ()
    assert not pending.some.is_set()


async def test_lookups_of_an_unanswered_job_become_rare() -> None:
    """After 1, 2, 4, 8 and then every 10 seconds."""
    clock = Clock()
    pending = PendingJobs(clock)
    with pending.waiting("a") as (job, _):
        pending.accept(job, SubmitStatus.ACCEPTED)
        waits = []
        for _ in range(6):
            at_s = pending.next_lookup_at_s()
            waits.append(at_s - clock.now_s)
            clock.now_s = at_s
            assert pending.due(10) == [job]
        assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
        assert pending.due(10) == []
    assert pending.next_lookup_at_s() == math.inf


async def test_a_job_that_was_under_way_already_is_looked_up_more_often() -> None:
    """Its result may be pushed to another client: at most two seconds pass between two lookups."""
    clock = Clock()
    pending = PendingJobs(clock)
    with pending.waiting("a") as (job, _):
        pending.accept(job, next(status for status in SubmitStatus if status is not SubmitStatus.ACCEPTED))
        for _ in range(6):
            assert pending.next_lookup_at_s() - clock.now_s <= 2.0
            clock.now_s = pending.next_lookup_at_s()
            pending.due(10)


async def test_a_job_known_by_its_id_alone_is_looked_up_at_once() -> None:
    """Its result may be there already, and is then pushed to no client."""
    clock = Clock()
    pending = PendingJobs(clock)
    with pending.waiting("a") as (job, _):
        assert pending.sooner.is_set()
        assert pending.due(10) == [job]


async def test_an_error_of_the_queue_is_the_answer_to_both_questions() -> None:
    """A caller that waits for acceptance and one that waits for the result have it."""
    pending = PendingJobs(Clock())
    with pending.waiting("a") as (job, _):
        error = JobConflict("another content")
        pending.settle(job, error)
        assert job.accepted.result() is error
        assert job.result.result() is error


async def test_a_result_does_not_confirm_that_the_queue_keeps_the_job() -> None:
    """A primary that is about to be replaced may have pushed it: a caller that wants more still waits."""
    pending = PendingJobs(Clock())
    with pending.waiting("a") as (job, _):
        job.to_confirm = True
        pending.pushed("a", b"result")
        assert not job.accepted.done()
        assert pending.is_wanted(job)
        job.accepted.set_result(None)
        assert not pending.is_wanted(job)


async def test_a_caller_that_stops_waiting_learns_what_is_known() -> None:
    """The queue's own reason; that the queue has the job; or that nothing is known."""
    pending = PendingJobs(Clock())
    with pending.waiting("a") as (job, _):
        assert isinstance(job.why_unanswered(), QueueUnavailable)
        job.trouble = QueueUnavailable("away")
        assert job.why_unanswered() is job.trouble
        assert pending.trouble() is job.trouble
        pending.accept(job, SubmitStatus.ACCEPTED)
        late = job.why_unanswered()
        assert isinstance(late, WaitTimeout)
        assert late.job_ids == ("a",)
        assert pending.trouble() is None


async def test_closing_answers_every_caller() -> None:
    """No caller waits for ever on a client that is closed."""
    pending = PendingJobs(Clock())
    with pending.waiting("a") as (job, _):
        pending.close()
        answers = await asyncio.gather(job.accepted, job.result)
        assert all(isinstance(answer, QueueUnavailable) for answer in answers)
