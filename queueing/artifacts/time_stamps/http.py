"""HTTP requests for time-stamps (RFC 3161 3.4), in threads: bounded in size and time, without redirects.

Proxies are taken from the environment (``http_proxy``, ``no_proxy``), and roots of TLS from the system or ``SSL_CERT_FILE``.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import Final

from queueing.aio.daemon_calls import in_daemon_thread
from queueing.artifacts.time_stamps.servers import TransportFailed
from queueing.artifacts.time_stamps.tokens import LARGEST_ANSWER_BYTES

ANSWER_S: Final = 30.0
"""For a whole request, from the look-up of the name to the last byte: a server that sends a byte now and then is none."""

_SOCKET_S: Final = 15.0
"""For a connection to one address, and between two packets."""

_PIECE_BYTES: Final = 16 << 10
_URL_FORM: Final = "give an address as http://HOST/PATH or https://HOST/PATH"


def check_url(url: str) -> str | None:
    """The reason for which this is no address of a time-stamp server; None for a good one."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return _URL_FORM
    if good and parts.username is not None:
        return "a name and password in the address are not sent; use a server without"
    return None if good and url.isascii() and url.isprintable() and " " not in url else _URL_FORM


class Exchange:
    """One request in its time: ``end`` shuts its socket, whatever the thread that waits there is doing."""

    def __init__(self, total_s: float) -> None:
        self._end_s = time.monotonic() + total_s
        self._lock = threading.Lock()
        self._over = False
        self._socket: socket.socket | None = None

    def connect(
        self, address: tuple[str, int], timeout_s: float, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """Connect as ``socket.create_connection`` does, to all addresses of the host together in the time that is left."""
        failure = OSError("the host has no address")
        for family, kind, protocol, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
            left_s = self._end_s - time.monotonic()
            if left_s <= 0:
                break
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(min(timeout_s, left_s))
                if source is not None:
                    made.bind(source)
                made.connect(place)
                self._watch(made)
            except OSError as error:
                made.close()
                failure = error
            else:
                return made
        raise failure

    def end(self) -> None:
        """Shut the socket, now or when it is connected. Never blocks."""
        with self._lock:
            self._over = True
            watched, self._socket = self._socket, None
        if watched is not None:
            with contextlib.suppress(OSError), watched:  # the other side may have closed it
                watched.shutdown(socket.SHUT_RDWR)

    def _watch(self, made: socket.socket) -> None:
        """Keep a descriptor of its own: TLS takes the socket's away before its handshake."""
        with self._lock:
            if self._over:
                raise TimeoutError("the time of the request is over")
            self._socket = made.dup()


class _Request(urllib.request.Request):
    """Request with its exchange."""

    def __init__(self, url: str, body: bytes, exchange: Exchange) -> None:
        headers = {"Content-Type": "application/timestamp-query", "User-Agent": "sigmill"}
        super().__init__(url, data=body, headers=headers, method="POST")
        self.exchange = exchange


class _Connection(http.client.HTTPConnection):
    """HTTP within the time of an exchange."""

    def __init__(self, host: str, *, timeout: float, exchange: Exchange) -> None:
        super().__init__(host, timeout=timeout)
        self._create_connection = exchange.connect  # the one place where http.client makes sockets


class _TlsConnection(http.client.HTTPSConnection):
    """HTTPS within the time of an exchange."""

    def __init__(self, host: str, *, timeout: float, exchange: Exchange, context: ssl.SSLContext) -> None:
        super().__init__(host, timeout=timeout, context=context)
        self._create_connection = exchange.connect


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        assert isinstance(req, _Request)
        return self.do_open(partial(_Connection, exchange=req.exchange), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self) -> None:
        super().__init__()
        self._roots = ssl.create_default_context()

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        assert isinstance(req, _Request)
        return self.do_open(partial(_TlsConnection, exchange=req.exchange, context=self._roots), req)


class HttpTransport:
    """Way to time-stamp servers by HTTP (``queueing.artifacts.time_stamps.servers.Transport``). ``total_s``: for a request.

    A request has a thread of its own, until the resolver lets it go: the servers bound how many there are at once.
    """

    def __init__(self, *, total_s: float = ANSWER_S) -> None:
        self._total_s = total_s
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            _Http(),
            _Https(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    async def post(self, url: str, body: bytes) -> bytes:
        """The answer's body; raises ``TransportFailed``, at the latest when its time is over."""
        exchange = Exchange(self._total_s)
        try:
            async with asyncio.timeout(self._total_s):
                return await in_daemon_thread(self._post, url, body, exchange)
        except TimeoutError:
            raise TransportFailed(f"the answer is not complete after {self._total_s:g} s") from None
        finally:
            exchange.end()

    def _post(self, url: str, body: bytes, exchange: Exchange) -> bytes:
        try:
            with self._opener.open(_Request(url, body, exchange), timeout=_SOCKET_S) as answer:
                return _body(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise TransportFailed(f"the server answers {error.code}") from None
        except urllib.error.URLError as error:
            raise TransportFailed(f"the server cannot be reached: {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TransportFailed(f"the connection failed: {str(error) or type(error).__name__}") from None


def _body(answer: http.client.HTTPResponse) -> bytes:
    body = b""
    while piece := answer.read1(_PIECE_BYTES):
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            raise TransportFailed(f"the answer is longer than {LARGEST_ANSWER_BYTES} bytes")
    if answer.length:
        raise TransportFailed(f"the answer is cut: {answer.length} bytes are missing")
    return body
