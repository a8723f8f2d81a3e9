"""Reply stream: results in the order in which they were committed, read on after errors, trimmed, and removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.aio.backoff import Backoff
from queueing.client.delivery.lost_jobs import LostJobRecovery
from queueing.client.delivery.pending_jobs import PendingJobs
from queueing.client.delivery.reply_stream import ReplyReader
from queueing.client.delivery.submitter import Submitter
from queueing.protocol import keyspace
from tests.support.fakes.queue_access import access_to
from tests.support.fakes.submitting import FakeQueue, submission
from tests.support.waiting import turn

STREAM = keyspace.reply_prefix("acme") + "r1"
Entry = tuple[bytes, dict[bytes, bytes]]


class FakeStream:
    """Redis with one stream: XREAD returns what was added, or raises it, and blocks while nothing is there."""

    def __init__(self) -> None:
        self.to_come: asyncio.Queue[list[Entry] | Exception] = asyncio.Queue()
        self.read_from: list[bytes] = []
        self.trimmed_to: list[bytes] = []
        self.deleted: list[str] = []
        self.away = False

    async def xread(
        self, streams: dict[str, bytes], *, count: int, block: int
    ) -> list[tuple[bytes, list[Entry]]]:
        self.read_from.append(streams[STREAM])
        answer = await self.to_come.get()
        if isinstance(answer, Exception):
            raise answer
        return [(STREAM.encode(), answer)] if answer else []

    async def xtrim(self, stream: str, *, minid: bytes, approximate: bool) -> None:
        assert stream == STREAM
        self.trimmed_to.append(minid)

    async def delete(self, stream: str) -> None:
        if self.away:
            raise RedisConnectionError("away")
        self.deleted.append(stream)


@pytest.fixture
def stream() -> FakeStream:
    return FakeStream()


@pytest.fixture
def pending() -> PendingJobs:
    return PendingJobs(lambda: 0.0)


@pytest.fixture
async def reader(stream: FakeStream, pending: PendingJobs) -> AsyncIterator[ReplyReader]:
    """A running reader that waits no time after an error."""
    redis = cast("Redis", stream)
    access = access_to(redis)
    recovery = LostJobRecovery(access, pending, Submitter(access, pending))
    made = ReplyReader(redis, "acme", "r1", pending, recovery, backoff=Backoff(first_s=0.0))
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    await asyncio.wait((running,))


async def test_each_result_settles_its_job(
    stream: FakeStream, pending: PendingJobs, reader: ReplyReader
) -> None:
    """Several may be in one entry; one for which no caller waits is skipped."""
    with pending.waiting("a") as (a, _), pending.waiting("b") as (b, _):
        stream.to_come.put_nowait([(b"1-0", {b"a": b"one", b"stranger": b"x"}), (b"2-0", {b"b": b"two"})])
        await turn()
        assert (a.result.result(), b.result.result()) == (b"one", b"two")


async def test_reading_continues_after_the_last_entry_and_after_an_error(
    stream: FakeStream, pending: PendingJobs, reader: ReplyReader
) -> None:
    """From the beginning first: results may be there before the first read. An XREAD that ends with nothing is repeated."""
    with pending.waiting("a"):
        for answer in ([(b"7-1", {b"x": b"-"})], [], RedisConnectionError("away"), [(b"7-2", {b"y": b"-"})]):
            stream.to_come.put_nowait(answer)
        await turn(50)
    assert stream.read_from == [b"0-0", b"7-1", b"7-1", b"7-1", b"7-2"]


async def test_an_idle_client_reads_nothing_and_has_nothing_to_remove(
    stream: FakeStream, reader: ReplyReader
) -> None:
    """Thousands of clients of a farm are idle."""
    await turn()
    await reader.remove()
    assert (stream.read_from, stream.deleted) == ([], [])


async def test_a_job_is_submitted_before_its_result_is_asked_for(
    stream: FakeStream, pending: PendingJobs, reader: ReplyReader
) -> None:
    """Redis and a worker begin with it, while the client prepares to read."""
    queue, order = FakeQueue(), list[str]()
    queue.hangs = True
    submitter = Submitter(queue, pending)
    sending = asyncio.ensure_future(submitter.run())
    await turn()
    with pending.waiting("a", submission("a")) as (job, _):
        submitter.post(job)
        while not (queue.sent and stream.read_from):
            order += ["submit"] * bool(queue.sent) + ["read"] * bool(stream.read_from)
            await turn(1)
    assert order[:1] == ["submit"]
    sending.cancel()
    await asyncio.wait((sending,))


async def test_what_was_read_is_trimmed_once_it_is_a_mebibyte(
    stream: FakeStream, pending: PendingJobs, reader: ReplyReader
) -> None:
    """Everything up to the last entry read, that one included; then the count begins at zero."""
    half = bytes(512 * 1024)
    with pending.waiting("a"):
        for entry in (b"1-0", b"1-7", b"2-0"):
            stream.to_come.put_nowait([(entry, {b"x": half})])
        await turn(50)
    assert stream.trimmed_to == [b"1-8"]


async def test_the_stream_is_removed_at_the_end_or_left_to_expire(
    stream: FakeStream, pending: PendingJobs, reader: ReplyReader
) -> None:
    """A Redis that is away does not make closing the client fail."""
    with pending.waiting("a"):
        await turn()
    await reader.remove()
    assert stream.deleted == [STREAM]
    stream.away = True
    await reader.remove()
