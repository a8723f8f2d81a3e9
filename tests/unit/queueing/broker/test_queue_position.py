"""Place in the queue: jobs ahead of a client's first one, and what is told where that cannot be counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from queueing.broker.job_values import QueuePosition
from queueing.broker.queue_position import queue_position
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace

NOW_MS = 1_000_000.0


@dataclass
class FakeQueue:
    """A Redis with one queue of jobs by their due time (ms); the leased ones are in work."""

    due_ms: dict[str, float]
    leased: set[str] = field(default_factory=set)
    may_count: bool = True
    away: bool = False
    asked_for: list[int] = field(default_factory=list)

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        assert not transaction
        return FakePipeline(self)


@dataclass
class FakePipeline:
    """One round trip to ``queue``."""

    queue: FakeQueue
    answers: list[object] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def time(self) -> None:
        self.answers.append((int(NOW_MS // 1000), int(NOW_MS % 1000 * 1000)))

    def zmscore(self, key: str, job_ids: list[str]) -> None:
        assert key == keyspace.queue("acme")
        self.queue.asked_for.append(len(job_ids))
        self.answers.append([self.queue.due_ms.get(job_id) for job_id in job_ids])

    def exists(self, key: str) -> None:
        self.answers.append(int(key.removeprefix(keyspace.IN_PROGRESS_PREFIX) in self.queue.leased))

    def zcount(self, key: str, least: str, most: str) -> None:
        assert (key, least, most[0]) == (keyspace.queue("acme"), "-inf", "(")
        if self.queue.may_count:
            self.answers.append(sum(due < float(most[1:]) for due in self.queue.due_ms.values()))
        else:
            self.answers.append(NoPermissionError("NOPERM"))

    async def execute(self, *, raise_on_error: bool = True) -> list[object]:
        if self.queue.away:
            raise RedisConnectionError("away")
        return self.answers


async def position(queue: FakeQueue, *job_ids: str) -> QueuePosition:
    return await queue_position(cast("Redis", queue), "acme", job_ids)


async def test_jobs_of_others_that_are_due_before_the_first_are_ahead() -> None:
    """Of several jobs of the client the first one counts; one that is in work is not in the queue."""
    queue = FakeQueue({"x": 1.0, "y": 2.0, "mine-1": 3.0, "z": 4.0, "mine-2": 5.0, "mine-0": 9.0}, {"mine-0"})
    found = await position(queue, "mine-0", "mine-1", "mine-2")
    assert found == QueuePosition(queued=2, in_work=1, ahead=2, retry_in_s=None)


async def test_a_returned_job_is_told_with_the_time_of_its_retry() -> None:
    """It is due in the future: the number of jobs before it is not known."""
    found = await position(FakeQueue({"x": 1.0, "mine": NOW_MS + 2500}), "mine")
    assert found == QueuePosition(queued=1, in_work=0, ahead=None, retry_in_s=2.5)


async def test_jobs_that_are_done_or_unknown_have_no_place() -> None:
    """Neither in the queue nor in work."""
    assert await position(FakeQueue({"x": 1.0}), "mine") == QueuePosition(
        queued=0, in_work=0, ahead=None, retry_in_s=None
    )


async def test_a_user_that_may_not_count_is_told_the_rest() -> None:
    """Users of an older ACL have no ZCOUNT."""
    found = await position(FakeQueue({"x": 1.0, "mine": 2.0}, may_count=False), "mine")
    assert (found.queued, found.ahead) == (1, None)


async def test_of_many_jobs_the_first_are_asked_for() -> None:
    """One round trip stays short, however many files are signed."""
    queue = FakeQueue({f"job-{i}": float(i) for i in range(500)})
    found = await position(queue, *queue.due_ms)
    assert (queue.asked_for, found.queued) == ([128], 128)


async def test_a_redis_that_is_away_is_a_retryable_error() -> None:
    """It tells what was tried."""
    with pytest.raises(QueueUnavailable, match="cannot read the place in the queue"):
        await position(FakeQueue({}, away=True), "mine")
