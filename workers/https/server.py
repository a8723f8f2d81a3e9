"""HTTPS server: bounds on the number and the time of connections and on headers, an answer for what is no HTTP, and a drain."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from queueing.errors import ConfigError

if TYPE_CHECKING:
    import ssl
    from asyncio import Server, Transport

    from aiohttp.web_request import BaseRequest

    from workers.telemetry.edge_metrics import HttpsMetrics

_SILENT: Final = logging.getLogger("sigmill.https.aiohttp")
"""Of aiohttp's own words: they repeat bytes of strangers. What they tell is counted."""

_SILENT.propagate = False
_SILENT.addHandler(logging.NullHandler())

MOST_LINE_BYTES: Final = 2048
MOST_HEADERS: Final = 64
MOST_HEADER_BYTES: Final = 8190
_LINGER_S: Final = 1.0
"""Time in which the rest of a refused body is read, so that its sender sees the answer."""

_UNREAD_BYTES: Final = 64 * 1024
"""Bytes that TLS may keep behind an answer which the client does not read; with more of them it has ``Bounds.answer_s``."""

_BACKLOG: Final = 1024
_TLS_SHUTDOWN_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a server. ``connections``: more are closed as they come.

    ``header_s``: longest time of a TLS handshake, and from a connection or an answer to the end of the next headers.
    ``answer_s``: longest time in which a client reads an answer; one that does not is cut, for its answers are in memory.
    ``connection_s``: longest time of a connection, whatever it does; without it, it lasts as long as it is used.
    ``cancel_when_left``: the answer to a client that has gone is cancelled.
    """

    connections: int
    header_s: float
    answer_s: float
    connection_s: float | None = None
    cancel_when_left: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Address to listen at; port 0 is any free port. ``file`` and ``key``: the setting that names it, for errors."""

    host: str
    port: int
    file: str
    key: str


class Site(Protocol):
    """Answers of one server."""

    async def answer(self, request: BaseRequest) -> web.StreamResponse:
        """Answer to one request; what it raises is a fault of the program, or a client that has gone."""

    def no_http(self) -> web.StreamResponse:
        """Answer to what is no HTTP, or exceeds the bounds of headers; without a byte of it."""

    def failed(self, error: BaseException | None) -> web.StreamResponse:
        """Answer to a request at which ``answer`` failed."""


class HttpsServer(web.Server):
    """Server of one site; a factory of connections, for the event loop."""

    def __init__(self, site: Site, bounds: Bounds, metrics: HttpsMetrics) -> None:
        super().__init__(
            site.answer,
            handler_cancellation=bounds.cancel_when_left,
            keepalive_timeout=bounds.header_s,  # also the time for the headers of the first request
            access_log=None,
            logger=_SILENT,
            auto_decompress=False,
            lingering_time=_LINGER_S,
            max_line_size=MOST_LINE_BYTES,
            max_headers=MOST_HEADERS,
            max_field_size=MOST_HEADER_BYTES,
        )
        self.site = site
        self.answer_s = bounds.answer_s
        self._bounds = bounds
        self._refused = metrics.https_connections_refused
        metrics.https_connections.set_function(lambda: len(self._connections))
        self._listener: Server | None = None
        self._ends: dict[RequestHandler, asyncio.TimerHandle] = {}

    async def listen(self, address: Address, context: ssl.SSLContext) -> int:
        """Listen; returns the port. Raises ``ConfigError`` where the address cannot be used."""
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                self,
                address.host,
                address.port,
                ssl=context,
                ssl_handshake_timeout=self._bounds.header_s,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_S,
                backlog=_BACKLOG,
                reuse_address=True,
            )
        except OSError as error:
            raise ConfigError(
                address.file,
                address.key,
                f"cannot listen on {address.host}:{address.port}: {error.strerror or error}",
                "Use an address of this host, and a port that is free and that this user may bind.",
            ) from error
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    def stop_listening(self) -> None:
        """Take no new connection; those that are open go on."""
        if self._listener is not None:
            self._listener.close()

    async def close(self, within_s: float = _TLS_SHUTDOWN_S) -> None:
        """Close the connections, those with a request after its answer; what takes longer than ``within_s`` is cut."""
        self.stop_listening()
        self.pre_shutdown()
        await self.shutdown(within_s)

    def __call__(self) -> RequestHandler:
        """A connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: Transport) -> None:
        """Take a connection and give it its time, or close it at once where there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._bounds.connections:
            self._refused.inc()
            transport.abort()
        elif self._bounds.connection_s is not None:
            loop = asyncio.get_running_loop()
            self._ends[handler] = loop.call_later(self._bounds.connection_s, transport.abort)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection, and its time, which would keep it in memory."""
        super().connection_lost(handler, exc)
        end = self._ends.pop(handler, None)
        if end is not None:
            end.cancel()


class _Connection(RequestHandler):
    """One connection; what is no HTTP is answered as every other refusal, and a client that does not read is cut."""

    __slots__ = ("_server", "_unread")

    def __init__(self, server: HttpsServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, with a bound of what it keeps for a client that does not read."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            transport.set_write_buffer_limits(high=_UNREAD_BYTES)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the transport, which its timer would keep in memory."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes. The parser in Python fails at a length of more digits than ``int()`` reads; llhttp, in C, refuses it itself."""
        try:
            super().data_received(data)
        except ValueError:
            self._server.site.no_http()  # counts it
            if self.transport is not None:
                self.transport.abort()

    def pause_writing(self) -> None:
        """Called when too many bytes are unread."""
        super().pause_writing()
        if self.transport is not None:
            loop = asyncio.get_running_loop()
            self._unread = loop.call_later(self._server.answer_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Called when the client has read most of them."""
        super().resume_writing()
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def handle_error(
        self,
        request: BaseRequest,  # noqa: ARG002 - as in aiohttp, here and at `message`
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer in place of aiohttp's, which repeats the request. A client that has gone is no fault of the site."""
        site = self._server.site
        if isinstance(exc, ConnectionError) and (self.transport is None or self.transport.is_closing()):
            return web.Response()  # is not sent
        return site.failed(exc) if status >= 500 else site.no_http()
