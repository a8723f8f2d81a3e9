"""A pool closes idle connections, one with each release or all at once, and gives none of them away."""

from __future__ import annotations

import asyncio
import errno
import ssl
import threading
import types
from enum import StrEnum
from typing import Any, cast
from unittest.mock import Mock

import pytest
from redis.asyncio import Connection, ConnectionPool, SSLConnection
from redis.exceptions import DataError

from queueing.config.redis import RedisConfig, SentinelConfig
from queueing.redis.connection import connect, look_for_primary
from queueing.redis.pool import IDLE_S, ShrinkingPool, close_idle, shrinking
from queueing.redis.sentinel import SentinelPool

PEAK = 3
PATIENCE_S = 60.0


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


class Opened:
    """Stands for ``asyncio.open_connection``: ``tried`` is how each connection was opened, and ``refusing`` which of them fail."""

    def __init__(self, refusing: dict[str, OSError]) -> None:
        self.tried: list[dict[str, object]] = []
        self.refusing = refusing

    async def __call__(self, **arguments: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.tried.append(arguments)
        error = self.refusing.get(str(arguments["host"]))
        if error is not None:
            raise error
        return cast("asyncio.StreamReader", object()), cast("asyncio.StreamWriter", Mock())

    @property
    def hosts(self) -> list[object]:
        return [arguments["host"] for arguments in self.tried]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """The name `redis.example` has two addresses."""
    made = Opened({})
    monkeypatch.setattr("asyncio.open_connection", made)
    places = [(0, 0, 0, "", (address, 0)) for address in ("2001:db8::1", "192.0.2.1")]
    monkeypatch.setattr("queueing.aio.look_ups.socket.getaddrinfo", lambda *_, **__: places)
    return made


async def connect_by(pool: ConnectionPool) -> None:
    """Open a connection of this pool, and forget it."""
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection._connect()
    finally:
        connection._close()


async def connect_to(host: str) -> None:
    await connect_by(connect(RedisConfig(host=host)).connection_pool)


async def test_a_connection_is_made_to_an_address_and_its_name_is_looked_up_once(opened: Opened) -> None:
    """The loop has few threads for look-ups, which a silent resolver would hold."""
    await connect_to("redis.example")
    assert opened.tried == [{"host": "2001:db8::1", "port": 6379}]


@pytest.mark.parametrize("host", ["redis.example", "192.0.2.1"])
async def test_a_certificate_is_that_of_the_configured_name(opened: Opened, host: str) -> None:
    """And not of the address that the resolver names: it proves nothing of that."""
    await connect_by(ShrinkingPool(SSLConnection, host=host))
    (arguments,) = opened.tried
    assert arguments["server_hostname"] == host


async def test_the_next_address_is_tried_where_one_does_not_answer(opened: Opened) -> None:
    """As with a name of which one address is of a network that this host has not."""
    opened.refusing["2001:db8::1"] = ConnectionRefusedError()
    await connect_to("redis.example")
    assert opened.hosts == ["2001:db8::1", "192.0.2.1"]


async def test_the_error_is_that_of_the_last_address(opened: Opened) -> None:
    opened.refusing |= {"2001:db8::1": OSError(errno.ENETUNREACH, ""), "192.0.2.1": ConnectionRefusedError()}
    with pytest.raises(ConnectionRefusedError):
        await connect_to("redis.example")


async def test_a_refused_certificate_is_not_asked_for_at_another_address(opened: Opened) -> None:
    """The server has answered: a second error would hide the reason."""
    opened.refusing["2001:db8::1"] = ssl.SSLCertVerificationError("hostname mismatch")
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect_to("redis.example")
    assert opened.hosts == ["2001:db8::1"]


async def test_a_connection_gives_up_in_time_while_its_name_is_looked_up(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the look-up goes on: nothing can end it."""
    may_answer = threading.Event()
    monkeypatch.setattr(
        "queueing.aio.look_ups.socket.getaddrinfo", lambda *_, **__: may_answer.wait(PATIENCE_S)
    )
    try:
        with pytest.raises(TimeoutError):
            await connect_by(ShrinkingPool(Connection, host="redis.silent", socket_connect_timeout=0.001))
    finally:
        may_answer.set()
    assert opened.tried == []


class Unpacked(StrEnum):
    """A word of ours, as keys and options are."""

    WORD = "wörd"


def packed_alike(*command: Any) -> None:
    """The pool's connection packs the command as redis-py's own does."""
    connection: Any = ShrinkingPool(Unconnected).make_connection()
    by_redis_py = b"".join(Connection.pack_command(connection, *command))
    assert b"".join(connection.pack_command(*command)) == by_redis_py


@pytest.mark.parametrize(
    "argument",
    ["", "wörd", Unpacked.WORD, b"", b"\x00\xff\r\n", 0, -5, 2**70, 1.5, 1e300, -0.0, float("inf")],
    ids=repr,
)
def test_a_command_is_packed_as_redis_py_packs_it(argument: str | float | bytes) -> None:
    """Texts, bytes and numbers; a name of two words is two arguments."""
    packed_alike("SET", "key", argument)
    packed_alike("CONFIG GET", argument)
    packed_alike(b"CONFIG GET", argument, "x" * 100_000, b"y" * 100_000)


def test_a_pipeline_is_packed_as_redis_py_packs_it() -> None:
    """Large arguments are not copied together with others, and none is lost or moved."""
    commands = [
        ("SET", f"key-{i}", b"v" * size) for i, size in enumerate((0, 10, 5_999, 6_000, 6_001, 200_000, 1))
    ]
    connection: Any = ShrinkingPool(Unconnected).make_connection()
    packed = b"".join(connection.pack_commands(commands))
    assert packed == b"".join(b"".join(Connection.pack_command(connection, *each)) for each in commands)


@pytest.mark.parametrize("argument", [None, True, [1], {"a": 1}, object()], ids=type)
def test_an_argument_that_redis_has_no_form_of_is_a_data_error(argument: Any) -> None:
    """redis-py's error, which callers of it know."""
    connection: Any = ShrinkingPool(Unconnected).make_connection()
    with pytest.raises(DataError):
        connection.pack_command("SET", "key", argument)
