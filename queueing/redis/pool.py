"""Connection pools that close idle connections: after a minute without use, or at once.

redis-py's pool keeps as many connections as were ever in use at once, for as long as its process lives. After an
outage, when all tasks retry at once, that is more than any later load needs.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

import hiredis
from arq.connections import ArqRedis
from redis._parsers import _AsyncHiredisParser
from redis.asyncio import ConnectionPool
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterParser
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import ConnectionError, DataError  # noqa: A004 - what redis-py raises here

from queueing.aio.look_ups import LookUps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis.typing import EncodableT

    from queueing.redis.rotation import TlsFiles

IDLE_S: Final = 60.0


class ShrinkingPool(ConnectionPool):
    """redis-py's pool, which hands out the connection that came back last: the first in its list is idle longest.

    Each release closes at most one; it does not wait for the close, so that a cancellation cannot meet it. Closing the
    pool closes every connection, also where it is cancelled, and also one that is still being made, or is made later: a
    closed pool keeps none.
    """

    idle_s: float = IDLE_S

    def __init__(self, *args: object, **options: object) -> None:
        # It has error classes for MOVED and similar replies, which a cluster also sends where none is configured.
        options.setdefault("parser_class", ClusterParser)
        super().__init__(*args, **options)  # type: ignore[arg-type]  # redis-py's own
        self.connection_class = _refusing(self.connection_class)  # type: ignore[arg-type]  # a class has a hash
        self._idle_since_s: WeakKeyDictionary[AbstractConnection, float] = WeakKeyDictionary()
        self.tls: TlsFiles | None = None
        """For connections by TLS: instead of redis-py's context, which each of them would keep for ever."""
        self._closed = False
        self._look_ups = LookUps()

    def make_connection(self) -> AbstractConnection:
        """A connection that takes the TLS files as they are each time that it connects."""
        connection: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]
        if self.tls is not None and isinstance(connection, SSLConnection):
            connection.ssl_context = self.tls
        if isinstance(connection, _OwnConnection):
            connection.look_ups = self._look_ups
        return connection

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect; again if the server has closed the connection or sent an answer to no command.

        redis-py looks for that under a time-out of zero, which always expires. Before Python 3.11.3 a task that is being
        cancelled gets ``CancelledError`` from it (python/cpython#102780): whatever cleaned up in Redis did nothing.
        """
        await connection.connect()  # type: ignore[no-untyped-call]
        if await _is_unusable(connection):
            await connection.disconnect()
            await connection.connect()  # type: ignore[no-untyped-call]
            if await _is_unusable(connection):
                raise ConnectionError("Connection not ready")

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        if self._closed:
            await connection.disconnect(nowait=True)
        await super().release(connection)
        now_s = time.monotonic()
        self._idle_since_s[connection] = now_s
        for longest in self._available_connections[:1]:
            if now_s - self._idle_since_s.get(longest, now_s) > self.idle_s:
                self._available_connections.remove(longest)
                await longest.disconnect(nowait=True)

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's signature
        """Close all connections, or the idle ones; what is in use is closed again when it comes back."""
        closing = [*self._available_connections]
        if inuse_connections:
            self._closed = True
            closing += self._in_use_connections
        try:
            await super().disconnect(inuse_connections)
        finally:
            abandon(closing)


class _OwnConnection:
    """A connection that packs commands by hiredis, has its name looked up by its pool, and may be closed while a command waits to be sent.

    redis-py looks before that wait. asyncio's ``writelines`` on a transport that is closed is a ``TypeError`` from Python 3.12
    on, and on none an ``AttributeError``: neither is an error of Redis, for which callers are prepared.
    """

    _writer: asyncio.StreamWriter | None
    look_ups: LookUps
    _address = ""

    async def _connect(self) -> None:
        """Connect within the time for it, to the first address of the name that answers: no thread of the loop looks it up."""
        own: Any = self
        async with asyncio.timeout(own.socket_connect_timeout):
            if isinstance(self, Connection):
                await self._connect_to_one_of(await self.look_ups.addresses(self.host))
            else:
                await super()._connect()  # type: ignore[misc]  # of redis-py's class beside this one

    async def _connect_to_one_of(self, addresses: Sequence[str]) -> None:
        """Raises the ``OSError`` of the last address, or the first refusal of a certificate: a server has answered."""
        for left, self._address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                await super()._connect()  # type: ignore[misc]  # as above
            except OSError as error:
                if not left or isinstance(error, ssl.SSLError):
                    raise
            else:
                return

    def _connection_arguments(self) -> Mapping[str, Any]:
        """redis-py's, with the address; TLS asks for the certificate of the name."""
        arguments: Mapping[str, Any] = super()._connection_arguments()  # type: ignore[misc]
        own: Any = self
        name = {"server_hostname": own.host} if "ssl" in arguments else {}
        return {**arguments, **name, "host": self._address}

    def pack_command(self, name: str | bytes, *arguments: EncodableT) -> list[bytes]:
        """The command in Redis' protocol. Raises ``DataError`` for an argument that is neither text, bytes nor a number.

        By hiredis, as redis-py's own connections without asyncio do: those with asyncio pack in Python, which takes seven
        times as long, for a claim 14 us more.
        """
        words = (name.encode() if isinstance(name, str) else name).split()  # 'CONFIG GET' is two
        command: Any = (*words, *arguments)
        try:
            return [hiredis.pack_command(command)]
        except TypeError as error:
            raise DataError(str(error)) from None

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, "the connection was closed")
        writer.writelines(command)
        await writer.drain()


@cache
def _refusing(connection_class: type[AbstractConnection]) -> type[AbstractConnection]:
    if issubclass(connection_class, _OwnConnection):
        return connection_class
    return cast(
        "type[AbstractConnection]",
        type(connection_class.__name__, (_OwnConnection, connection_class), {}),
    )


async def _is_unusable(connection: AbstractConnection) -> bool:
    """True where the server has ended the stream, or something is left to read although no answer is due."""
    for _ in range(2):  # turns of the loop: one to look at the sockets, one to read from this one
        await asyncio.sleep(0)
    stream: Any = connection._reader  # noqa: SLF001 - redis-py can be asked for this by its time-out only
    parser: Any = connection._parser  # noqa: SLF001
    if stream is None or stream.exception() is not None or stream._buffer or stream.at_eof():  # noqa: SLF001
        return True
    if isinstance(parser, _AsyncHiredisParser):
        return bool(parser._reader.has_data())  # type: ignore[attr-defined]  # noqa: SLF001
    return bool(parser._buffer)  # noqa: SLF001


class QueueRedis(ArqRedis):
    """arq's client, with pipelines that give their connection back however they end."""

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002 - redis-py's signature
        """A pipeline; see there."""
        return _ReturningPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class _ReturningPipeline(Pipeline):
    """arq starts each job under WATCH. redis-py ends that by UNWATCH, and keeps the connection if its answer is not awaited."""

    async def reset(self) -> None:
        """Give the connection back; closed, if it was cancelled on the way and an answer is still due."""
        try:
            await super().reset()  # type: ignore[no-untyped-call]
        finally:
            kept, self.connection = self.connection, None
            if kept is not None:
                abandon([kept])
                await self.connection_pool.release(kept)


def shrinking(pool: ConnectionPool, tls: TlsFiles | None = None) -> ShrinkingPool:
    """A ``ShrinkingPool`` with the settings of ``pool``, and these TLS files."""
    made = ShrinkingPool(pool.connection_class, pool.max_connections, **pool.connection_kwargs)
    made.tls = tls
    return made


async def close_idle(pool: ConnectionPool) -> None:
    """Close the connections that wait in the pool. Raises nothing.

    They leave the pool first. redis-py closes them in the pool, and not at once: a task that is given one of them
    meanwhile finds its stream gone in the middle of a command (``AttributeError``, which is no error of Redis).
    """
    idle, pool._available_connections = pool._available_connections, []  # noqa: SLF001 - it has no method for it
    try:
        await asyncio.gather(*(connection.disconnect() for connection in idle), return_exceptions=True)
    finally:
        abandon(idle)


def abandon(connections: Iterable[AbstractConnection]) -> None:
    """Close what is still open, without a wait.

    A cancellation that meets ``gather`` before its tasks have begun ends them all: none has closed anything.
    """
    for connection in connections:
        connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001 - its own ``disconnect`` is a coroutine
