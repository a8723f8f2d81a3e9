"""A server that gives each command one answer of a wrong shape: every reader has an error of Redis, or a
result.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from queueing.broker import hindrances, job_state, queue_position, queue_stats
from queueing.client.delivery.lost_jobs import LostJobRecovery
from queueing.client.delivery.pending_jobs import PendingJobs
from queueing.client.delivery.reply_stream import ReplyReader
from queueing.client.delivery.submitter import Submitter
from queueing.client.service_clock import ServiceClock
from queueing.config.redis import RedisConfig
from queueing.coordination import (
    key_directories,
    redis_check,
    refused_pin_feed,
    stop_order_feed,
    worker_registry,
)
from queueing.errors import QueueUnavailable
from queueing.redis.connection import connect
from queueing.redis.errors import REDIS_ERRORS
from tests.support.fakes.queue_access import access_to

HUGE = b"9" * 400
ANSWERS = {
    "nothing": b"$-1\r\n",
    "no items": b"*0\r\n",
    "a number": b":7\r\n",
    "a negative number": b":-7\r\n",
    "a word": b"+OK\r\n",
    "not UTF-8": b"$2\r\n\xff\xfe\r\n",
    "huge numbers": b"*2\r\n$400\r\n%b\r\n$400\r\n%b\r\n" % (HUGE, HUGE),
    "negative numbers": b"*2\r\n$2\r\n-5\r\n$2\r\n-5\r\n",
    "one of two": b"*1\r\n$1\r\n5\r\n",
    "three of two": b"*3\r\n:1\r\n:2\r\n:3\r\n",
    "lists in lists": b"*2\r\n*1\r\n:1\r\n*2\r\n$1\r\na\r\n*-1\r\n",
    "an error": b"-NOPERM no permission\r\n",
}
JOBS = ["{acme}" + "0" * 32, "{acme}" + "1" * 32]


async def clock(redis: Redis) -> None:
    measuring = ServiceClock(access_to(redis), ttl_ms=60_000, now_ms=lambda: 1_700_000_000_000)
    await measuring.measure()
    assert abs(measuring.ahead_ms) < 2**60


async def replies(redis: Redis) -> None:
    pending = PendingJobs(asyncio.get_running_loop().time)
    access = access_to(redis)
    recovery = LostJobRecovery(access, pending, Submitter(access, pending))
    reader = ReplyReader(redis, "acme", "0" * 32, pending, recovery)
    with contextlib.suppress(*REDIS_ERRORS):
        await reader._settle(await reader._read())
        await reader._trim()


READERS: dict[str, Callable[[Redis], Awaitable[object]]] = {
    "clock": clock,
    "replies": replies,
    "position": lambda redis: queue_position.queue_position(redis, "acme", JOBS),
    "lookup": lambda redis: job_state.look_up(redis, "acme", JOBS),
    "report": lambda redis: job_state.report_of(redis, "acme", JOBS[0]),
    "statistics": lambda redis: queue_stats.read_queue_stats(redis, ["acme", "other"]),
    "state of Redis": queue_stats.redis_state,
    "hindrance": lambda redis: hindrances.hindrance_of(redis, "acme"),
    "workers": worker_registry.registered_workers,
    "refused PINs": lambda redis: refused_pin_feed.sync(redis, {"token": b"ab"}),
    "stop orders": lambda redis: stop_order_feed.poll(redis, [b"known"]),
    "acknowledged": lambda redis: stop_order_feed.acknowledged_by(redis, "order"),
    "missing directories": lambda redis: key_directories.directories_missing(redis, ["acme", "other"]),
    "directories": lambda redis: key_directories.published_directories(redis, ["acme", "other"]),
    "doctor": redis_check.inspect,
}


@pytest.fixture(params=list(ANSWERS))
async def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Redis]:
    answer = ANSWERS[request.param]
    idle = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        idle.clear()
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                for _ in range(int((await reader.readuntil(b"\r\n"))[1:])):
                    await reader.readexactly(int((await reader.readuntil(b"\r\n"))[1:]) + 2)
                writer.write(answer)
                await writer.drain()
        writer.close()
        idle.set()

    socket = tmp_path / "redis.sock"
    server = await asyncio.start_unix_server(serve, socket)
    redis = connect(RedisConfig(unix_socket=str(socket)))
    try:
        yield redis
    finally:
        await redis.aclose()
        server.close()
        if idle._waiters or not idle.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(idle.wait(), 5)


@pytest.mark.parametrize("reader", READERS)
async def test_an_answer_of_another_shape_is_no_error_of_ours(foreign: Redis, reader: str) -> None:
    """The caller gets ``QueueUnavailable``, or a result without the values that cannot be read."""
    with contextlib.suppress(QueueUnavailable):
        await READERS[reader](foreign)
