"""Servers that accept connections and never answer: no command and no subscription waits for ever."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator

import pytest
from redis.exceptions import RedisError

from queueing.aio.backoff import Backoff
from queueing.aio.owned_tasks import end_tasks
from queueing.broker import doorbell as doorbells
from queueing.config.redis import RedisConfig
from queueing.protocol import keyspace
from queueing.redis import connection
from queueing.redis.connection import connect
from tests.support.redis.process import RedisProcess
from tests.support.waiting import until_async


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_server_that_is_silent_from_the_start_is_given_up(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the connection's time-out and its few repeats, with or without a database to select."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 0.05)
    for database in (0, 3):
        redis = connect(RedisConfig(host="127.0.0.1", port=silent_port, database=database))
        async with asyncio.timeout(10.0):
            with pytest.raises(RedisError):
                await redis.get("sigmill:anything")
        await redis.aclose()


def pings(redis: RedisProcess) -> int:
    """Number that this server has answered."""
    found = re.search(rb"cmdstat_ping:calls=(\d+)", redis.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


async def test_doorbells_are_received_again_after_a_silence(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that vanished closes no connection: a ping without an answer ends it, and the listener
    subscribes again.
    """
    monkeypatch.setattr(doorbells, "SILENCE_S", 1.0)
    config = RedisConfig(unix_socket=str(own_redis.socket_path))
    bells, ringer = connect(config, blocking_s=5.0), connect(config)
    heard: list[str] = []
    begun: list[int] = []
    backoff = Backoff(most_s=0.1)
    listening = asyncio.create_task(
        doorbells.listen(bells, heard.append, lambda: begun.append(1), backoff=backoff)
    )
    try:
        await until_async(lambda: bool(begun), "it listens")
        before = pings(own_redis)
        await until_async(lambda: pings(own_redis) > before, "it asks whether the server is there")
        await ringer.publish(keyspace.doorbell("acme"), "acme")
        await until_async(lambda: heard == ["acme"], "the bell is heard")
        assert begun == [1], "a server that answers its pings is left for no reason"
        own_redis.pause()
        await until_async(lambda: backoff._failures > 0, "the silent connection is given up")
        assert begun == [1], "it does not listen: the server has not confirmed the new subscription"
        own_redis.resume()
        await until_async(lambda: len(begun) > 1, "it listens again")
        await ringer.publish(keyspace.doorbell("acme"), "acme")
        await until_async(lambda: heard == ["acme"] * 2, "the bell is heard")
    finally:
        await end_tasks([listening])
        await bells.aclose()
        await ringer.aclose()


async def test_a_connection_that_was_cut_and_made_again_may_have_missed_bells(
    own_redis: RedisProcess,
) -> None:
    """redis-py subscribes again without an error: the listener is told when Redis has confirmed it."""
    config = RedisConfig(unix_socket=str(own_redis.socket_path))
    bells, ringer = connect(config, blocking_s=5.0), connect(config)
    heard: list[str] = []
    begun: list[int] = []
    listening = asyncio.create_task(doorbells.listen(bells, heard.append, lambda: begun.append(1)))
    try:
        for times in (1, 2, 3):
            await until_async(lambda times=times: len(begun) == times, "it listens")  # type: ignore[misc]
            await ringer.publish(keyspace.doorbell("acme"), "acme")
            await until_async(lambda times=times: heard == ["acme"] * times, "the bell is heard")  # type: ignore[misc]
            own_redis.command("CLIENT", "KILL", "TYPE", "PUBSUB")
    finally:
        await end_tasks([listening])
        await bells.aclose()
        await ringer.aclose()
