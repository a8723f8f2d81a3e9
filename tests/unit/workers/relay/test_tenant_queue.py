"""One tenant's queue at the relay while its Redis is slow or fails: checks that are repeated, and an end that does not wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from queueing.broker.job_values import QueuedState
from queueing.config.redis import RedisConfig
from queueing.errors import QueueUnavailable
from tests.support.waiting import turn
from workers.relay import tenant_queue
from workers.relay.process import close_all
from workers.relay.tenant_queue import TenantQueue
from workers.relay.waiting import WaitingClient

JOB = "{acme}job"
LOST = QueuedState(result=None, has_job=False, due_ms=None, leased=False)


@dataclass(slots=True)
class FailingOnce:
    """Access whose first look-up fails; after it, no job is in the queue."""

    confirms: bool = True
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool) -> list[QueuedState]:
        del confirmed
        self.asked.append(tuple(job_ids))
        if len(self.asked) == 1:
            raise QueueUnavailable("it is away")
        return [LOST for _ in job_ids]


@dataclass(slots=True)
class Counting:
    """Access that counts its round trips; ``failing`` is the number of the one that fails. It has no job but ``done``."""

    done: Mapping[str, bytes] = field(default_factory=dict)
    failing: int = 0
    confirms: bool = True
    asked: list[list[str]] = field(default_factory=list)

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool) -> list[QueuedState]:
        del confirmed
        self.asked.append(list(job_ids))
        if len(self.asked) == self.failing:
            raise QueueUnavailable("it is away")
        return [replace(LOST, result=self.done.get(job_id)) for job_id in job_ids]


class SilentStream:
    """Reply stream whose removal gets no answer."""

    async def remove(self) -> None:
        await asyncio.Event().wait()


class FailingStream:
    """Reply stream whose removal fails in an unexpected way."""

    async def remove(self) -> None:
        raise ValueError("a defect")


class Connections:
    """Access that tells whether its connections are closed."""

    closed = False

    async def aclose(self) -> None:
        self.closed = True


@dataclass(slots=True)
class ClosesWithOthers:
    """Queue that is closed once all are being closed."""

    together: asyncio.Barrier
    closed: bool = False

    async def close(self) -> None:
        await self.together.wait()
        self.closed = True


class FailsToClose:
    """Queue whose close fails at once."""

    tenant = "acme"

    async def close(self) -> None:
        raise ValueError("a defect")


class ClosesLater:
    """Queue that is closed after others have had their turn."""

    closed = False

    async def close(self) -> None:
        await turn()
        self.closed = True


class Sizes:
    """Sizes of results as Redis tells them; 0 of those that are not set."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    async def read(self, redis: object, job_ids: Sequence[str]) -> list[int]:
        del redis
        return [self.known.get(job_id, 0) for job_id in job_ids]


@pytest.fixture
def sizes() -> Sizes:
    return Sizes()


@pytest.fixture
def queue(sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> TenantQueue:
    """A queue whose Redis is asked nothing."""
    monkeypatch.setattr(tenant_queue, "result_sizes", sizes.read)
    return TenantQueue("acme", RedisConfig(host="localhost"))


async def test_a_check_that_failed_is_repeated_by_the_next_sweep(queue: TenantQueue) -> None:
    """The client learns that the queue does not have its job as soon as Redis answers, not with its next request."""
    queue.access = FailingOnce()  # type: ignore[assignment]
    with queue.clients.waiting([JOB], asyncio.get_running_loop().time() - tenant_queue.CHECK_S) as client:
        with pytest.raises(QueueUnavailable):
            await queue._sweep_once()
        assert not client.checked
        await queue._sweep_once()
        assert (client.checked, client.unknown) == (True, {JOB})


async def test_many_clients_are_checked_in_few_round_trips(queue: TenantQueue) -> None:
    """128 jobs in each, and each job once: results do not wait for a round trip of each client."""
    access = Counting({"{acme}7": b"result"})
    queue.access = access  # type: ignore[assignment]
    since_s = asyncio.get_running_loop().time() - tenant_queue.CHECK_S
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(queue.clients.waiting([f"{{acme}}{number}", "{acme}shared"], since_s))
            for number in range(254)
        ]
        late = stack.enter_context(queue.clients.waiting(["{acme}3"], since_s + 60.0))
        await queue._check(queue.clients.unchecked(since_s))
        assert [len(each) for each in access.asked] == [128, 128]
        assert [each.checked for each in clients] == [True] * 254
        assert clients[7].found == {"{acme}7": b"result"}
        assert clients[7].unknown == {"{acme}shared"}
        assert clients[8].unknown == {"{acme}8", "{acme}shared"}
        assert (late.checked, late.unknown) == (False, set()), "its job may be on its way still"


async def test_clients_that_were_checked_before_a_failure_stay_so(queue: TenantQueue) -> None:
    """The next sweep continues with those that are left."""
    queue.access = access = Counting(failing=2)  # type: ignore[assignment]
    since_s = asyncio.get_running_loop().time() - tenant_queue.CHECK_S
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(queue.clients.waiting([f"{{acme}}{number}"], since_s))
            for number in range(130)
        ]
        with pytest.raises(QueueUnavailable):
            await queue._sweep_once()
        assert [each.checked for each in clients] == [True] * 128 + [False] * 2
        await queue._sweep_once()
        assert all(each.checked for each in clients)
        assert [len(each) for each in access.asked[:3]] == [128, 2, 2]


async def test_a_client_of_many_jobs_is_checked_by_itself(queue: TenantQueue) -> None:
    """In as many round trips as its jobs need."""
    queue.access = access = Counting()  # type: ignore[assignment]
    jobs = [f"{{acme}}{number}" for number in range(300)]
    with queue.clients.waiting([JOB], 0.0) as small, queue.clients.waiting(jobs, 0.0) as large:
        await queue._check([small, large])
        assert [len(each) for each in access.asked] == [1, 128, 128, 44]
        assert (small.unknown, large.unknown) == ({JOB}, set(jobs))


async def test_large_results_are_read_a_few_at_a_time(queue: TenantQueue, sizes: Sizes) -> None:
    """Of 128 jobs of one poll they would be 512 MiB at once; what the answer has no room for stays for the next poll."""
    jobs = [f"{{acme}}{number}" for number in range(128)]
    sizes.known = dict.fromkeys(jobs, 4 * 1024 * 1024)
    queue.access = access = Counting(dict.fromkeys(jobs, b"x" * 600000))  # type: ignore[assignment]
    found = await queue.results(jobs, wait_s=0.0, check=True)
    assert [len(each) for each in access.asked] == [2] * 64
    assert len(found.found) == 1


async def test_a_sweep_reads_the_results_that_there_are(queue: TenantQueue, sizes: Sizes) -> None:
    """Jobs without one cost their place in the question about the sizes."""
    jobs = [f"{{acme}}{number}" for number in range(100)]
    sizes.known = {jobs[3]: 9 * 1024 * 1024, jobs[4]: 10, jobs[5]: 10}
    queue.access = access = Counting({jobs[3]: b"result"})  # type: ignore[assignment]
    with queue.clients.waiting(jobs, asyncio.get_running_loop().time()) as client:
        await queue._sweep_once()
        assert sorted(job for part in access.asked for job in part) == jobs[3:6]
        assert [jobs[3]] in access.asked
        assert client.found == {jobs[3]: b"result"}


async def test_the_end_does_not_wait_for_a_silent_redis(
    queue: TenantQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply stream is left to expire, and the connections are closed."""
    monkeypatch.setattr(tenant_queue, "CLOSE_S", 0.0)
    connections = Connections()
    queue._replies, queue.access = SilentStream(), connections  # type: ignore[assignment]
    async with asyncio.timeout(60):
        await queue.close()
    assert connections.closed


async def test_queues_are_closed_at_the_same_time() -> None:
    """A slow one delays no other."""
    together = asyncio.Barrier(3)
    queues = [ClosesWithOthers(together) for _ in range(3)]
    async with asyncio.timeout(60):
        await close_all(queues)  # type: ignore[arg-type]
    assert all(each.closed for each in queues)


async def test_each_queue_is_closed_whatever_comes_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """The error of one is in the log, with the tenant, and cancels no other."""
    later = ClosesLater(), ClosesLater()
    await close_all([later[0], FailsToClose(), later[1]])  # type: ignore[list-item]
    assert [each.closed for each in later] == [True, True]
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["tenant"]) == ("relay.close_failed", "acme")
    assert record.exc_info is not None


async def test_connections_are_closed_also_where_the_removal_of_the_stream_fails(queue: TenantQueue) -> None:
    """An unexpected error is raised after that."""
    connections = Connections()
    queue._replies, queue.access = FailingStream(), connections  # type: ignore[assignment]
    with pytest.raises(ValueError, match="a defect"):
        await queue.close()
    assert connections.closed


@dataclass(slots=True)
class Slow:
    """Access whose look-ups end when the test lets them. No job has a result."""

    confirms: bool = True
    running: int = 0
    most: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool) -> list[QueuedState]:
        del confirmed
        self.running += 1
        self.most = max(self.most, self.running)
        await self.may_end.wait()
        self.running -= 1
        return [LOST for _ in job_ids]


async def test_few_polls_are_looked_up_at_a_time(queue: TenantQueue) -> None:
    """The results that Redis has for one are in memory until its answer is full. All get their turn, and none keeps it who has gone."""
    access = Slow()
    queue.access = access  # type: ignore[assignment]
    polls = [
        asyncio.ensure_future(queue.results([f"{{acme}}{number}"], wait_s=0.0, check=True))
        for number in range(3 * tenant_queue.MOST_LOOKS)
    ]
    await turn()
    assert access.running == tenant_queue.MOST_LOOKS
    for gone in (polls[0], polls[-1]):
        gone.cancel()
    await turn()
    access.may_end.set()
    answered = await asyncio.gather(*polls, return_exceptions=True)
    assert [type(each) for each in answered].count(WaitingClient) == len(polls) - 2
    assert not queue.clients
    assert access.most <= tenant_queue.MOST_LOOKS + 1


async def test_a_poll_that_gets_no_turn_is_told_to_come_later(
    queue: TenantQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is silent, and the client is not to wait longer than it grants."""
    monkeypatch.setattr(tenant_queue, "LOOK_WAIT_S", 0.0)
    queue.access = Slow()  # type: ignore[assignment]
    polls = [
        asyncio.ensure_future(queue.results([JOB], wait_s=0.0, check=True))
        for _ in range(tenant_queue.MOST_LOOKS)
    ]
    await turn()
    with pytest.raises(QueueUnavailable, match="many other clients"):
        await queue.results([JOB], wait_s=0.0, check=True)
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
