"""Probe of a Redis that does not answer: it may speak TLS where we do not, or the other way round.

Such a server closes the connection, or waits for more of what it takes for a command, so the error of the client names
no reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Final

from redis.asyncio import SSLConnection

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PATIENCE_S: Final = 2.0


async def refuse_wrong_tls(redis: Redis) -> None:
    """Raise ``ConfigError`` if TLS is on one side only; costs a connection. Behind Sentinels, nothing is asked."""
    pool = redis.connection_pool
    host, port = pool.connection_kwargs.get("host"), pool.connection_kwargs.get("port")
    if host is None or port is None:
        return
    with_tls = issubclass(pool.connection_class, SSLConnection)
    with contextlib.suppress(OSError, TimeoutError):  # ssl.SSLError is an OSError
        async with asyncio.timeout(_PATIENCE_S):
            if with_tls and await _answers_in_clear(host, port):
                remedy = "Remove [redis.tls], or give the port that speaks TLS (`tls-port` of Redis)."
                raise ConfigError("[redis.tls]", "", f"the port {port} speaks no TLS", remedy)
            if not with_tls and await _answers_with_tls(host, port):
                remedy = "Add a table [redis.tls] with `ca_file`, or give the port that speaks none."
                raise ConfigError("[redis]", "port", f"the port {port} speaks TLS", remedy)


async def _answers_in_clear(host: str, port: int) -> bool:
    """Whether the port answers a command that is not encrypted, be it by a refusal."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"PING\r\n")
        await writer.drain()
        return (await reader.read(1)) in {b"+", b"-"}
    finally:
        writer.transport.abort()


async def _answers_with_tls(host: str, port: int) -> bool:
    """Whether the port completes a TLS handshake; its certificate is not looked at, and nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    writer.transport.abort()
    return True
