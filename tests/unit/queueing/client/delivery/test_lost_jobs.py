"""Recovery of lost jobs: what the reply stream did not answer is looked up, and submitted again where it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from queueing.broker.job_values import QueuedState
from queueing.client.delivery.lost_jobs import LostJobRecovery
from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs
from queueing.config.accept_level import ReplicaWait
from queueing.config.redis import RedisConfig
from queueing.errors import JobUnknown, QueueUnavailable, QueueUnconfirmed, WaitTimeout
from queueing.redis.connection import connect
from tests.support.fakes.queue_access import access_to
from tests.support.fakes.submitting import (
    NO_ROOM,
    UNCONFIRMED,
    SubmitterStack,
)
from tests.support.waiting import turn

LOST = QueuedState(result=None, has_job=False, due_ms=None, leased=False)
"""On a server that was promoted without the job."""

QUEUED = QueuedState(result=None, has_job=True, due_ms=1.0, leased=False)
DONE = QueuedState(result=b"result", has_job=False, due_ms=None, leased=False)


class Lookups:
    """What Redis holds of every job, or why it does not say; ``asked``: the jobs of each lookup."""

    def __init__(self) -> None:
        self.state = LOST
        self.outage: QueueUnavailable | None = None
        self.asked: list[list[str]] = []
        self.confirmed = 0
        self.is_replaced = False

    async def look_up(
        self, redis: Redis, tenant: str, job_ids: Sequence[str], *, wait: ReplicaWait | None = None
    ) -> list[QueuedState]:
        self.asked.append(list(job_ids))
        if wait is not None:
            self.confirmed += 1
            if self.is_replaced:
                raise QueueUnconfirmed
        if self.outage is not None:
            raise self.outage
        return [self.state] * len(job_ids)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    made = Lookups()
    monkeypatch.setattr("queueing.client.delivery.redis_access.look_up", made.look_up)
    return made


@pytest.fixture
def recovery(stack: SubmitterStack, lookups: Lookups) -> LostJobRecovery:
    """A recovery over ``lookups``, whose Redis is never asked."""
    return recovery_of(stack, None)


def recovery_of(stack: SubmitterStack, wait: ReplicaWait | None) -> LostJobRecovery:
    redis = connect(RedisConfig(unix_socket="/nowhere"))
    return LostJobRecovery(access_to(redis, wait=wait), stack.pending, stack.submitter)


async def test_a_result_whose_push_was_lost_is_found(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery
) -> None:
    """It settles the job as a push does, and nothing is sent again."""
    lookups.state = DONE
    job = stack.post("a")
    await turn()
    await recovery._look_up([job])
    assert job.result.result() == b"result"
    assert stack.queue.sent == [["a"]]


async def test_a_job_that_is_queued_is_left_there(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery
) -> None:
    """A worker has it, or will."""
    lookups.state = QUEUED
    job = stack.post("a")
    await turn()
    await recovery._look_up([job])
    await turn()
    assert job.seen
    assert not job.result.done()
    assert stack.queue.sent == [["a"]]


async def test_a_lost_job_of_which_only_the_id_is_known_ends(
    stack: SubmitterStack, recovery: LostJobRecovery
) -> None:
    """There is nothing that could be sent again."""
    job, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    await recovery._look_up([job])
    assert isinstance(job.result.result(), JobUnknown)


async def test_a_primary_that_was_replaced_ends_no_job_that_it_does_not_know(
    stack: SubmitterStack, lookups: Lookups
) -> None:
    """Under ``replicated`` it has to show by its replicas that it is the primary still; the job is looked up again later."""
    recovery = recovery_of(stack, ReplicaWait(replicas=1, timeout_s=0.3))
    job, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    lookups.is_replaced = True
    await recovery._look_up([job])
    assert not job.result.done()
    lookups.is_replaced = False
    await recovery._look_up([job])
    assert isinstance(job.result.result(), JobUnknown)
    assert lookups.confirmed == 2


async def test_a_result_that_no_replica_has_is_handed_to_no_caller(
    stack: SubmitterStack, lookups: Lookups
) -> None:
    """A failover may lose it, and another worker sign the job again: found or pushed, it is looked up until replicas have it."""
    recovery = recovery_of(stack, ReplicaWait(replicas=1, timeout_s=0.3))
    lookups.is_replaced = True
    jobs = [stack.callers.enter_context(stack.pending.waiting(name))[0] for name in ("found", "pushed")]
    found, pushed = jobs
    lookups.state = DONE
    await recovery._look_up([found])
    stack.pending.due(10)
    await recovery.settle_pushed({"pushed": b"result", "of another": b"result"})
    assert [job.result.done() for job in jobs] == [False, False]
    assert isinstance(found.why_unanswered(), WaitTimeout), "the queue has it"
    assert stack.pending.due(10) == [pushed], "it is looked up at once"
    lookups.is_replaced = False
    await recovery._look_up([found])
    await recovery.settle_pushed({"pushed": b"what the primary had that is gone"})
    assert [job.result.result() for job in jobs] == [b"result"] * 2


async def test_a_job_that_is_queued_is_found_without_its_replicas(
    stack: SubmitterStack, lookups: Lookups
) -> None:
    """Nothing is handed over, so nothing is to be confirmed."""
    recovery = recovery_of(stack, ReplicaWait(replicas=1, timeout_s=0.3))
    lookups.is_replaced = True
    job, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    lookups.state = QUEUED
    await recovery._look_up([job])
    assert job.seen
    assert lookups.confirmed == 0


async def test_a_pushed_result_is_handed_over_without_a_lookup_where_no_replica_is_asked(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery
) -> None:
    """Under ``local`` a push costs no round trip; under ``replicated`` many results cost one for 256 of them."""
    job, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    await recovery.settle_pushed({"a": b"result"})
    assert job.result.result() == b"result"
    assert lookups.asked == []
    names = [f"job-{i}" for i in range(300)]
    for name in names:
        stack.callers.enter_context(stack.pending.waiting(name))
    lookups.state = DONE
    await recovery_of(stack, ReplicaWait(replicas=1, timeout_s=0.3)).settle_pushed(dict.fromkeys(names, b"r"))
    assert [len(asked) for asked in lookups.asked] == [256, 44]
    assert len(stack.pending) == 0


async def test_a_lookup_without_an_answer_says_nothing_about_the_jobs(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery
) -> None:
    """They are neither lost nor found, and are looked up again later."""
    lookups.outage = QueueUnavailable("away")
    job = stack.post("a")
    await turn()
    await recovery._look_up([job])
    await turn()
    assert not job.seen
    assert not job.result.done()
    assert stack.queue.sent == [["a"]]


async def test_a_bare_id_is_looked_up_at_once_and_an_idle_client_looks_up_nothing(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery
) -> None:
    """Its push may have come before a caller waited for it."""
    running = asyncio.ensure_future(recovery.run())
    await turn()
    assert lookups.asked == []
    lookups.state = DONE
    with stack.pending.waiting("a") as (job, _):
        await asyncio.wait((job.result,))
    assert lookups.asked == [["a"]]
    running.cancel()
    await asyncio.wait((running,))


async def test_a_request_for_an_earlier_lookup_wakes_the_loop_once(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it waits again for the next lookup that is due, instead of searching the table without end."""
    searches = 0
    due = PendingJobs.due

    def counted(pending: PendingJobs, most: int) -> list[PendingJob]:
        nonlocal searches
        searches += 1
        assert searches < 10, "the loop turns without a pause"
        return due(pending, most)

    monkeypatch.setattr(PendingJobs, "due", counted)
    lookups.state = QUEUED
    running = asyncio.ensure_future(recovery.run())
    with stack.pending.waiting("a"):
        await turn(100)
        assert not running.done()
    assert lookups.asked == [["a"]]
    running.cancel()
    await asyncio.wait((running,))


async def test_a_lost_job_that_waits_for_room_is_posted_once(
    stack: SubmitterStack, recovery: LostJobRecovery
) -> None:
    """A job that waits for backlog capacity is not posted by each lookup: every post would be retried for itself."""
    job = stack.post("a")
    await turn()
    stack.queue.answers = [[NO_ROOM]] * 1000
    for _ in range(4):
        await recovery._look_up([job])
        await turn()
    assert stack.queue.sent == [["a"]] * 2


async def test_a_job_that_is_lost_once_more_is_sent_once_more(
    stack: SubmitterStack, recovery: LostJobRecovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was accepted after a refusal and an outage is posted again when a later lookup finds it lost."""
    monkeypatch.setattr("queueing.client.delivery.submitter.wait_after", lambda *_: 0.0)
    job = stack.post("a")
    await turn()
    stack.queue.answers = [[NO_ROOM], QueueUnavailable(), [UNCONFIRMED]]
    for sent in (5, 6):
        await recovery._look_up([job])
        await turn(50)
        assert stack.queue.sent == [["a"]] * sent


async def test_a_bare_id_that_a_lookup_found_ends_in_a_wait_timeout(
    stack: SubmitterStack, lookups: Lookups, recovery: LostJobRecovery
) -> None:
    """A caller that gives up on a bare id gets ``WaitTimeout`` once a lookup found the job, and ``QueueUnavailable`` before."""
    lookups.state = QUEUED
    job, _ = stack.callers.enter_context(stack.pending.waiting("a"))
    assert isinstance(job.why_unanswered(), QueueUnavailable)
    await recovery._look_up([job])
    why = job.why_unanswered()
    assert isinstance(why, WaitTimeout)
    assert why.job_ids == ("a",)
