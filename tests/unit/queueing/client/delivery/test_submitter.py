"""Submitter: jobs that the queue did not confirm are sent again under the same ids."""

from __future__ import annotations

from queueing.broker.submissions import Receipt, SubmitStatus
from queueing.errors import EnvelopeAudience, JobConflict, QueueUnavailable, QueueUnconfirmed, WaitTimeout
from tests.support.fakes.submitting import (
    ACCEPTED,
    NO_ROOM,
    UNCONFIRMED,
    SubmitterStack,
)
from tests.support.waiting import turn


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
    stack.queue.answers = [[UNCONFIRMED]] * 1000
    stack.post("a")
    await turn(2)
    stack.pending.pushed("a", b"result")
    sent = len(stack.queue.sent)
    await turn(50)
    assert len(stack.queue.sent) <= sent + 1


async def test_a_submit_is_not_confirmed_by_a_result(stack: SubmitterStack) -> None:
    """A result of an unconfirmed job does not accept it: a failover may lose both, and the caller may not wait for it."""
    stack.queue.answers = [[UNCONFIRMED], [Receipt(SubmitStatus.DONE, b"result", confirmed=False)]]
    job = stack.post("a", to_confirm=True)
    await turn(1)
    stack.pending.pushed("a", b"result")
    assert not job.accepted.done()
    await turn(50)
    assert stack.queue.sent == [["a"]] * 3
    assert job.accepted.done()
    assert job.result.result() == b"result"


async def test_a_result_that_no_replica_has_is_asked_for_again(stack: SubmitterStack) -> None:
    """A failover may lose it, and another worker sign the job again: callers get the one that is confirmed."""
    stack.queue.answers = [
        [Receipt(SubmitStatus.DONE, b"lost", confirmed=False)],
        [Receipt(SubmitStatus.DONE, b"kept")],
    ]
    job = stack.post("a")
    await turn(50)
    assert stack.queue.sent == [["a"]] * 2
    assert job.result.result() == b"kept"


async def test_a_queue_that_cannot_be_reached_is_tried_again(stack: SubmitterStack) -> None:
    """After an outage of Redis the same batch is submitted again."""
    stack.queue.answers = [QueueUnavailable(), QueueUnavailable()]
    job = stack.post("a")
    await turn(50)
    assert stack.queue.sent == [["a"]] * 3
    assert job.accepted.done()


async def test_closing_tells_a_submit_that_it_is_not_confirmed(stack: SubmitterStack) -> None:
    """Closing fails an unconfirmed submit, also where a result came: a failover may still lose the job."""
    stack.queue.answers = [[UNCONFIRMED]] * 1000
    job = stack.post("a", to_confirm=True)
    await turn(5)
    stack.pending.pushed("a", b"result")
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


async def test_a_conflict_ends_its_own_submit_only(stack: SubmitterStack) -> None:
    """Another call waits for the job that the queue has under this id, and still does so."""
    stack.queue.answers = [[Receipt(SubmitStatus.CONFLICT)]]
    by_id, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    job = stack.post("a")
    await turn(5)
    assert isinstance(job.accepted.result(), JobConflict)
    assert not by_id.result.done()


async def test_a_refusal_that_no_retry_changes_ends_its_job_alone(stack: SubmitterStack) -> None:
    """A relay reads envelopes; those beside it are accepted."""
    stack.queue.answers = [
        [Receipt(SubmitStatus.REFUSED, refusal=EnvelopeAudience("of another service")), ACCEPTED]
    ]
    refused, accepted = stack.post("a"), stack.post("b")
    await turn()
    assert isinstance(refused.result.result(), EnvelopeAudience)
    assert accepted.accepted.result() is None
    assert stack.queue.sent == [["a", "b"]]


async def test_jobs_are_submitted_or_sent_or_neither(stack: SubmitterStack) -> None:
    """Of those that wait: the queue has what it accepted, may have what it has not answered, and has not what it refused."""
    stack.queue.answers = [[ACCEPTED, NO_ROOM]]
    for job_id in "ab":
        stack.post(job_id)
    await turn(5)
    stack.queue.hangs = True
    stack.post("c")
    await turn(5)
    stack.post("d")
    await turn(5)
    waiting = stack.pending.waiting_jobs()
    assert (waiting.queued, waiting.sent, waiting.unsent) == (("a",), ("c",), ("b", "d"))
