"""Connections that nobody uses are closed, and none of them is given to anybody meanwhile."""

from __future__ import annotations

import asyncio

from redis.asyncio import Connection, ConnectionPool

from queueing.config.redis import RedisConfig, SentinelConfig
from queueing.redis.connection import connect, look_for_primary
from queueing.redis.idle_connections import close_idle
from queueing.redis.sentinel import SentinelPool


class SlowToClose(Connection):
    """Its stream is there until the other side has answered the close."""

    def __init__(self, **_: object) -> None:
        super().__init__()
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()

    async def disconnect(self, nowait: bool = False) -> None:  # redis-py's signature
        self.closing.set()
        await self.may_close.wait()


def with_one_idle(pool: ConnectionPool) -> SlowToClose:
    connection = SlowToClose()
    pool._available_connections.append(connection)
    return connection


async def test_a_connection_that_is_being_closed_is_given_to_nobody() -> None:
    """Its user would find the stream gone in the middle of a command."""
    pool = ConnectionPool()
    connection = with_one_idle(pool)
    closing = asyncio.create_task(close_idle(pool))
    await connection.closing.wait()
    assert connection not in pool._available_connections
    connection.may_close.set()
    await closing


async def test_looking_for_the_primary_gives_no_connection_away_that_it_closes() -> None:
    """As READONLY makes a worker do while its other tasks ask on."""
    redis = connect(RedisConfig(host="localhost"))
    connection = with_one_idle(redis.connection_pool)
    looking = asyncio.create_task(look_for_primary(redis))
    await connection.closing.wait()
    assert connection not in redis.connection_pool._available_connections
    connection.may_close.set()
    await looking


async def test_a_pool_behind_sentinels_gives_no_connection_away_that_it_closes() -> None:
    """redis-py closes the idle ones when Sentinels name another primary."""
    sentinels = SentinelConfig(nodes=("localhost:1",), primary="sigmill")
    pool = connect(RedisConfig(sentinel=sentinels)).connection_pool
    assert isinstance(pool, SentinelPool)
    connection = with_one_idle(pool)
    closing = asyncio.create_task(pool.disconnect(inuse_connections=False))
    await connection.closing.wait()
    assert connection not in pool._available_connections
    connection.may_close.set()
    await closing
