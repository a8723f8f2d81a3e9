"""A connection that is being made when its caller is cancelled is closed, and its place in the pool is
free.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from queueing.aio.owned_tasks import end_tasks
from queueing.config.redis import RedisConfig, SentinelConfig, TlsConfig
from queueing.redis import connection
from queueing.redis.connection import connect
from queueing.redis.errors import REDIS_ERRORS
from queueing.redis.pool import close_idle
from queueing.redis.send_once import send_once
from tests.conftest import RedisFactory
from tests.support.cancelling import cancelled_at, nothing_unclosed
from tests.support.redis.nodes import NAME, SentinelProcess
from tests.support.redis.process import RedisProcess
from tests.support.redis.tls import MakeCertificate, tls_settings
from tests.support.waiting import until

PASSWORD = "nodes-password"
MOST_WAITS = 60
HANG_S = 60.0
SILENCE_S = 0.2


class Door:
    """Server that accepts connections, reads from them, and never answers."""

    def __init__(self) -> None:
        self.port = 0
        self.open = 0
        self.taken = asyncio.Event()
        self._one_closed = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.taken.set()
        with contextlib.suppress(OSError):
            while await reader.read(4096):
                pass
        writer.close()
        self.open -= 1
        self._one_closed.set()

    async def all_closed(self) -> None:
        """Return once the other side has closed every connection."""
        async with asyncio.timeout(HANG_S):
            while self.open:
                self._one_closed.clear()
                await self._one_closed.wait()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    async with await asyncio.start_server(made.take, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time-outs, so that the waits after a time-out are reached too."""
    for name in ("CONNECT_TIMEOUT_S", "SOCKET_TIMEOUT_S", "SENTINEL_SOCKET_TIMEOUT_S"):
        monkeypatch.setattr(connection, name, SILENCE_S)
    monkeypatch.setattr(connection, "RETRIES", 0)


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    path.chmod(0o600)
    return str(path)


def configured(kind: str, port: int, folder: Path | None, password_file: str) -> RedisConfig:
    tls = TlsConfig(ca_file=str(folder / "ca.pem")) if folder is not None else None
    if kind == "sentinel":
        sentinel = SentinelConfig(nodes=(f"127.0.0.1:{port}",), primary=NAME)
        return RedisConfig(sentinel=sentinel, database=3, password_file=password_file, tls=tls)
    return RedisConfig(host="127.0.0.1", port=port, database=3, password_file=password_file, tls=tls)


async def asked(redis: Redis) -> None:
    await redis.get("sigmill:anything")


async def cancel_at_each_wait(config: RedisConfig) -> int:
    """Number of waits of a command that makes its connection first."""
    for wait in range(1, MOST_WAITS):
        with nothing_unclosed():
            redis = connect(config)
            met = await cancelled_at(wait, asked(redis))
            assert not redis.connection_pool._in_use_connections, wait
            await redis.aclose()
            del redis
            await asyncio.sleep(0)  # a transport that was closed ends with the next turn of the loop
        if not met:
            return wait - 1
    raise AssertionError("a command without end")


@pytest.mark.parametrize("kind", ["tcp", "tls", "sentinel"])
@pytest.mark.usefixtures("impatient")
async def test_a_server_that_never_answers_keeps_no_connection_of_a_cancelled_caller(
    kind: str, door: Door, make_certificate: MakeCertificate, password_file: str
) -> None:
    """Cancelled at each wait of connecting, the TLS handshake, the question to the Sentinel, and AUTH."""
    folder = make_certificate("redis") if kind == "tls" else None
    assert await cancel_at_each_wait(configured(kind, door.port, folder, password_file)) >= 1
    assert door.taken.is_set()
    await door.all_closed()


@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_a_handshake_that_is_cancelled_at_any_wait_leaves_no_connection(
    kind: str, redis_server_factory: RedisFactory, make_certificate: MakeCertificate, password_file: str
) -> None:
    """Connecting, TLS, AUTH, SELECT and the command itself, with a server that answers."""
    folder = make_certificate("redis") if kind == "tls" else None
    settings = tls_settings(folder) if folder is not None else {}
    server = redis_server_factory(password=PASSWORD, settings=settings)
    port = int(settings.get("tls-port", server.port))
    assert await cancel_at_each_wait(configured(kind, port, folder, password_file)) > 3
    until(lambda: connected(server) == 1, "only the one that asks is left")


async def test_a_search_for_the_primary_that_is_cancelled_leaves_no_connection(
    redis_server_factory: RedisFactory, tmp_path: Path, password_file: str
) -> None:
    """No connection to the Sentinel or to the primary is left open."""
    server = redis_server_factory(password=PASSWORD)
    sentinel = SentinelProcess(tmp_path / "sentinel", server.port, quorum=1, down_after_ms=5000)
    try:
        sentinel.start()
        until(sentinel.is_up, "the Sentinel is up")
        assert await cancel_at_each_wait(configured("sentinel", sentinel.port, None, password_file)) > 3
    finally:
        sentinel.close()


def connected(server: RedisProcess) -> int:
    return int(server.info("clients")["connected_clients"])


async def connected_once(redis: Redis) -> None:
    assert await redis.ping()
    assert redis.connection_pool._available_connections


@pytest.mark.parametrize("what", ["pool", "idle"])
async def test_a_close_that_is_cancelled_at_once_closes_all_the_same(
    own_redis: RedisProcess, what: str
) -> None:
    """Each connection is closed, although the tasks of a ``gather`` that is cancelled at once do nothing."""
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    await connected_once(redis)
    pool = redis.connection_pool
    closed = [*pool._available_connections]
    assert await cancelled_at(1, redis.aclose() if what == "pool" else close_idle(pool), at_once=True)
    assert not any(one.is_connected for one in closed)
    await redis.aclose()


async def test_a_connection_that_is_made_while_the_pool_closes_is_closed_too(own_redis: RedisProcess) -> None:
    """Its command gets its answer, and then the connection is closed."""
    config = RedisConfig(unix_socket=str(own_redis.socket_path))
    redis = connect(config)
    pool = redis.connection_pool
    asking = asyncio.create_task(asked(redis))
    while not pool._in_use_connections:  # noqa: ASYNC110 - the task begins, and waits for its socket
        await asyncio.sleep(0)
    (made,) = pool._in_use_connections
    await redis.aclose()
    await asking
    assert not made.is_connected


async def test_a_connection_that_is_made_after_the_pool_was_closed_is_closed_too(
    own_redis: RedisProcess,
) -> None:
    """A command after the close gets its answer, and leaves nothing open."""
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    with nothing_unclosed():
        await connected_once(redis)
        await redis.aclose()
        await asked(redis)
        assert not any(one.is_connected for one in redis.connection_pool._available_connections)
        del redis
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(6))
async def test_a_command_that_meets_the_close_of_its_pool_has_an_error_of_redis(
    own_redis: RedisProcess, turns: int
) -> None:
    """Its error is one of Redis, or it has its answer: an error of asyncio would end the process."""
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    await connected_once(redis)
    (used,) = redis.connection_pool._available_connections
    asking = asyncio.create_task(send_once(redis, [("GET", "sigmill:anything")]))
    for _ in range(turns):
        await asyncio.sleep(0)
    closing = asyncio.create_task(redis.aclose())
    await asyncio.wait((asking, closing))
    closing.result()
    with contextlib.suppress(*REDIS_ERRORS):
        asking.result()
    assert not used.is_connected
    assert not any(one.is_connected for one in redis.connection_pool._available_connections)


async def test_a_task_that_is_being_cancelled_can_still_tidy_up_in_redis(own_redis: RedisProcess) -> None:
    """A command in a ``finally`` is sent; Python 3.11.2 once cancelled it again (python/cpython#102780)."""
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    await redis.set("sigmill:left", "1")
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await redis.delete("sigmill:left")

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert await redis.exists("sigmill:left") == 0
    await redis.aclose()


async def test_a_watch_that_is_cancelled_twice_keeps_no_connection(own_redis: RedisProcess) -> None:
    """The second cancellation meets the UNWATCH of the first, which Redis has not answered."""
    redis, watching = connect(RedisConfig(unix_socket=str(own_redis.socket_path))), asyncio.Event()

    async def watch() -> None:
        async with redis.pipeline(transaction=True) as pipe:
            await pipe.watch("arq:in-progress:x")
            watching.set()
            await asyncio.Event().wait()

    with nothing_unclosed():
        task = asyncio.create_task(watch())
        await watching.wait()
        own_redis.pause()
        await end_tasks([task])
        own_redis.resume()
        assert task.cancelled()
        assert not redis.connection_pool._in_use_connections
        assert await redis.ping()
        await redis.aclose()
