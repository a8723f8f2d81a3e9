"""Table of pending jobs: who waits, when a job is looked up, and which error a caller gets who stops waiting."""

from __future__ import annotations

import asyncio
import math

from queueing.broker.submit import SubmitStatus
from queueing.client.delivery.pending_jobs import PendingJobs
from queueing.errors import JobConflict, QueueUnavailable, WaitTimeout


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
        pending.settle("a", b"result")
        assert first.result.result() == b"result"
    assert len(pending) == 0


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
    """Its result may be there already, and is pushed to nobody."""
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
        pending.settle("a", error)
        assert job.accepted.result() is error
        assert job.result.result() is error


async def test_a_result_does_not_confirm_that_the_queue_keeps_the_job() -> None:
    """A primary that is about to be replaced may have pushed it; whoever wants confirmation goes on waiting."""
    pending = PendingJobs(Clock())
    with pending.waiting("a") as (job, _):
        job.to_confirm = True
        pending.settle("a", b"result")
        assert not job.accepted.done()
        assert pending.is_wanted(job)
        job.accepted.set_result(None)
        assert not pending.is_wanted(job)


async def test_a_caller_who_stops_waiting_learns_what_is_known() -> None:
    """The queue's own reason; that the job goes on; or that nothing is known."""
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


async def test_closing_answers_everybody() -> None:
    """No caller waits for ever on a client that is closed."""
    pending = PendingJobs(Clock())
    with pending.waiting("a") as (job, _):
        pending.close()
        answers = await asyncio.gather(job.accepted, job.result)
        assert all(isinstance(answer, QueueUnavailable) for answer in answers)
