"""Long polls: every job is asked for once at a time, new ones do not wait for slow ones, and what is lost is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from queueing.aio.backoff import Backoff
from queueing.broker.submissions import SubmitStatus
from queueing.client.delivery.lost_jobs import LostJobRecovery
from queueing.client.delivery.pending_jobs import PendingJob
from queueing.client.delivery.queue_access import QueueAccess
from queueing.client.delivery.relay_messages import PollAnswer
from queueing.client.delivery.result_polls import MOST_POLLS, ResultPolls
from queueing.errors import JobUnknown, QueueUnavailable
from tests.support.fakes.submitting import SubmitterStack, submission
from tests.support.waiting import turn


@dataclass
class Poll:
    """A poll that waits at the relay until the test answers it."""

    job_ids: tuple[str, ...]
    check: bool
    answer: asyncio.Future[PollAnswer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def give(self, results: dict[str, bytes], unknown: tuple[str, ...] = ()) -> None:
        self.answer.set_result(PollAnswer(results, unknown))


class Relay:
    confirms = False

    def __init__(self) -> None:
        self.polls: list[Poll] = []

    @property
    def waiting(self) -> list[tuple[str, ...]]:
        return [poll.job_ids for poll in self.polls if not poll.answer.done()]

    async def results(self, job_ids: Sequence[str], *, wait_ms: int, check: bool) -> PollAnswer:
        poll = Poll(tuple(job_ids), check)
        self.polls.append(poll)
        return await poll.answer


@dataclass
class PollSetup:
    relay: Relay
    stack: SubmitterStack

    def accepted(self, job_id: str) -> PendingJob:
        """A job that the queue has."""
        job, _ = self.stack.callers.enter_context(self.stack.pending.waiting(job_id, submission(job_id)))
        self.stack.pending.accept(job, SubmitStatus.ACCEPTED)
        return job


@pytest.fixture
async def setup() -> AsyncIterator[PollSetup]:
    made = PollSetup(Relay(), SubmitterStack())
    stack = made.stack
    recovery = LostJobRecovery(cast("QueueAccess", made.relay), stack.pending, stack.submitter)
    polls = ResultPolls(made.relay, stack.pending, recovery, backoff=Backoff(first_s=0.0), patience_s=0.0)
    running = [asyncio.ensure_future(loop) for loop in (*polls.loops(), stack.submitter.run())]
    yield made
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    for task in running:
        assert task.cancelled(), task


async def test_an_idle_client_polls_nothing(setup: PollSetup) -> None:
    """Nor does one whose jobs the queue does not have yet."""
    setup.stack.callers.enter_context(setup.stack.pending.waiting("a", submission("a")))
    await turn()
    assert setup.relay.polls == []


async def test_a_poll_brings_results_and_the_rest_is_asked_for_again(setup: PollSetup) -> None:
    """With the jobs that were submitted since."""
    first, second = setup.accepted("a"), setup.accepted("b")
    await turn()
    assert setup.relay.waiting == [("a", "b")]
    third = setup.accepted("c")
    await turn()
    assert setup.relay.waiting == [("a", "b"), ("c",)]
    setup.relay.polls[0].give({"a": b"one"})
    await turn()
    assert first.result.result() == b"one"
    assert setup.relay.waiting == [("c",), ("b",)]
    setup.relay.polls[1].give({"c": b"three"})
    setup.relay.polls[2].give({"b": b"two"})
    await turn()
    assert (second.result.result(), third.result.result()) == (b"two", b"three")
    assert setup.relay.waiting == []


async def test_new_jobs_do_not_wait_for_slow_ones(setup: PollSetup) -> None:
    """With every poll waiting, the oldest is given up, and its jobs join the new ones."""
    for number in range(MOST_POLLS):
        setup.accepted(f"slow-{number}")
        await turn()
    assert len(setup.relay.waiting) == MOST_POLLS
    job = setup.accepted("new")
    await turn(200)
    assert setup.relay.polls[0].answer.cancelled()
    assert setup.relay.waiting[-1] == ("slow-0", "new")
    setup.relay.polls[-1].give({"new": b"result"})
    await turn()
    assert job.result.result() == b"result"


async def test_a_lost_job_is_sent_again_and_polled_once_the_queue_has_it(setup: PollSetup) -> None:
    """Not before: the relay would say again that it is not there."""
    job = setup.accepted("a")
    await turn()
    setup.stack.queue.hangs = True
    setup.relay.polls[0].give({}, ("a",))
    await turn()
    assert setup.stack.queue.sent == [["a"]]
    assert setup.relay.waiting == []
    setup.stack.pending.accept(job, SubmitStatus.ACCEPTED)
    await turn()
    assert setup.relay.waiting == [("a",)]


async def test_a_bare_id_that_is_not_there_ends_at_once(setup: PollSetup) -> None:
    """The relay is asked to look it up; later polls of a job that was seen do without."""
    unknown, _ = setup.stack.callers.enter_context(setup.stack.pending.waiting("x"))
    await turn()
    assert setup.relay.polls[0].check
    setup.relay.polls[0].give({}, ("x",))
    await turn()
    assert isinstance(unknown.result.result(), JobUnknown)
    setup.stack.callers.enter_context(setup.stack.pending.waiting("y"))
    setup.accepted("z")
    await turn()
    setup.relay.polls[1].give({"z": b"result"})
    await turn()
    assert (setup.relay.polls[-1].job_ids, setup.relay.polls[-1].check) == (("y",), False)


async def test_a_relay_that_is_away_is_asked_again(setup: PollSetup) -> None:
    """After a pause; nothing is lost."""
    job = setup.accepted("a")
    await turn()
    setup.relay.polls[0].answer.set_exception(QueueUnavailable("away"))
    await turn()
    setup.relay.polls[1].give({"a": b"result"})
    await turn()
    assert job.result.result() == b"result"
