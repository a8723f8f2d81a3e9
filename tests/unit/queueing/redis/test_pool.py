"""A pool closes idle connections, one with each release or all at once, and gives none of them away."""

from __future__ import annotations

import asyncio
import types

import pytest
from redis.asyncio import Connection, ConnectionPool

from queueing.config.redis import RedisConfig, SentinelConfig
from queueing.redis.connection import connect, look_for_primary
from queueing.redis.pool import IDLE_S, ShrinkingPool, close_idle, shrinking
from queueing.redis.sentinel import SentinelPool

PEAK = 3


class Unconnected(Connection):
    """Opens no socket; remembers that it was closed."""

    closed = False

    async def disconnect(self, nowait: bool = False) -> None:  # redis-py's signature
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stands still until ``now_s`` is set."""
    clock = types.SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr("queueing.redis.pool.time", types.SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def taken_from(pool: ShrinkingPool) -> Unconnected:
    connection: Unconnected = pool.get_available_connection()  # type: ignore[no-untyped-call]
    return connection


async def after_a_peak() -> tuple[ShrinkingPool, list[Unconnected]]:
    pool = ShrinkingPool(Unconnected)
    connections = [taken_from(pool) for _ in range(PEAK)]
    for connection in connections:
        await pool.release(connection)
    return pool, connections


async def use_one(pool: ShrinkingPool) -> None:
    await pool.release(taken_from(pool))


async def test_connections_of_a_peak_are_closed_after_a_long_idle_time(clock: types.SimpleNamespace) -> None:
    pool, connections = await after_a_peak()
    clock.now_s += IDLE_S + 1
    for _ in range(PEAK + 1):
        await use_one(pool)
    assert [connection.closed for connection in connections] == [True, True, False]
    assert pool._available_connections == connections[-1:]


async def test_what_was_used_lately_stays(clock: types.SimpleNamespace) -> None:
    pool, connections = await after_a_peak()
    clock.now_s += IDLE_S - 1
    await use_one(pool)
    assert not any(connection.closed for connection in connections)


async def test_one_release_closes_one_connection(clock: types.SimpleNamespace) -> None:
    """A command waits for no more than that."""
    pool, connections = await after_a_peak()
    clock.now_s += IDLE_S + 1
    await use_one(pool)
    assert [connection.closed for connection in connections] == [True, False, False]


@pytest.mark.parametrize(
    "config",
    [
        RedisConfig(host="localhost"),
        RedisConfig(unix_socket="redis.sock"),
        RedisConfig(sentinel=SentinelConfig(nodes=("localhost:1",), primary="sigmill")),
    ],
    ids=["host", "socket", "sentinel"],
)
def test_every_pool_shrinks(config: RedisConfig) -> None:
    assert isinstance(connect(config).connection_pool, ShrinkingPool)


def test_a_shrinking_pool_makes_the_same_connections() -> None:
    pool = connect(RedisConfig(unix_socket="redis.sock", database=3)).connection_pool
    other = shrinking(pool)
    assert (other.connection_class, other.connection_kwargs) == (
        pool.connection_class,
        pool.connection_kwargs,
    )


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


async def test_a_connection_that_is_being_closed_is_not_given_away() -> None:
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
