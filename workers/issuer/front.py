"""The issuer's front: HTTPS that hands requests to the lane as they come. It has no key of the issuer, and logs no token.

A connection serves one request and has a time limit, whatever it sends. The entry of the process sets ``AIOHTTP_NO_EXTENSIONS``
before this module is imported.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from queueing.errors import GrantMalformed, IssuerUnavailable, SigningError
from queueing.protocol.grants.grant_request import (
    CHECK_PATH,
    MAX_REQUEST_BYTES,
    PATH,
    GrantDenied,
    GrantError,
    GrantIssued,
    encode_json,
)
from workers.issuer.frames import Granted, Judged, Refused
from workers.issuer.identity.refusals import Outcome

if TYPE_CHECKING:
    from asyncio import Server, Transport

    from aiohttp.web_request import BaseRequest

    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.issuer.lane_client import LaneClient
    from workers.telemetry.metrics_catalogue import IssuerMetrics

log = logging.getLogger("sigmill.issuer")

HEAD_BYTES: Final = 8 * 1024
"""Longest line of a request's head; the token is in the body."""

MOST_HEADERS: Final = 64
HANDSHAKE_S: Final = 10.0
CONNECTION_S: Final = 30.0
"""Longest time of a connection, from the end of its handshake: the answer of the lane takes at most half of it."""

_UNKNOWN: Final = "unknown"
_quiet = logging.getLogger("sigmill.issuer.http")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # what it would log are errors of callers, in words of the library


class Front:
    """HTTP server of one issuer."""

    def __init__(self, configuration: IssuerConfiguration, lane: LaneClient, metrics: IssuerMetrics) -> None:
        self._configuration = configuration
        self._lane = lane
        self._metrics = metrics
        self._server: Server | None = None
        self._http: _BoundedServer | None = None
        for outcome in Outcome:  # rate() does not see the first increase of a new series
            for provider in (*configuration.providers, *configuration.certificates, _UNKNOWN):
                metrics.grants.labels(provider, outcome)

    async def open(self, context: ssl.SSLContext) -> int:
        """Listen; returns the port. Raises ``OSError``."""
        http = self._configuration.http
        self._http = _BoundedServer(self, http.max_connections)
        self._server = await asyncio.get_running_loop().create_server(
            self._http,
            http.host,
            http.port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S,
            reuse_address=True,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self, within_s: float) -> None:
        """Stop listening, and let requests that are begun have their answers within this time."""
        if self._server is not None and self._http is not None:
            self._server.close()
            await self._http.shutdown(within_s)

    async def answer(self, request: BaseRequest) -> web.Response:
        """Answer to one request; the connection ends with it."""
        if request.path not in {PATH, CHECK_PATH}:
            return _response(404, GrantMalformed(f"there is nothing here but {PATH}"))
        if request.method != "POST":
            return _response(405, GrantMalformed("a request for a grant is a POST"))
        try:
            body, check = await _body(request), request.path == CHECK_PATH
            answer = await self._lane.ask(body, _certificate(request), check=check)
        except IssuerUnavailable as error:
            self.count("", Outcome.UNAVAILABLE)
            return _response(503, error)
        except GrantMalformed as error:
            self.count("", Outcome.MALFORMED)
            return _response(413, error)
        if isinstance(answer, Granted):
            self.count(answer.provider, Outcome.ISSUED)
            issued = GrantIssued(grant=answer.grant, expires_ms=answer.expires_ms)
            return _json(200, encode_json(issued))
        if isinstance(answer, Judged):
            self.count(answer.provider, Outcome.CHECKED)
            return _json(200, answer.body)
        self.count(answer.provider, answer.outcome)
        return _refusal(answer)

    def count(self, provider: str, outcome: Outcome) -> None:
        """Count the outcome of a request."""
        known = provider in self._configuration.providers or provider in self._configuration.certificates
        self._metrics.grants.labels(provider if known else _UNKNOWN, outcome).inc()


class _BoundedServer(web.Server):
    """aiohttp's server with a bound on the number of connections, and on the time of each."""

    def __init__(self, front: Front, most: int) -> None:
        super().__init__(
            front.answer,
            access_log=None,
            logger=_quiet,
            keepalive_timeout=HANDSHAKE_S,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=MOST_HEADERS,
            lingering_time=1.0,
            read_bufsize=MAX_REQUEST_BYTES,
            auto_decompress=False,
        )
        self._front = front
        self._most = most

    def __call__(self) -> RequestHandler:
        """A connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def malformed(self) -> None:
        """Count a request that is no HTTP, or exceeds the bounds of a head."""
        self._front.count("", Outcome.MALFORMED)

    def connection_made(self, handler: RequestHandler, transport: Transport) -> None:
        """Give the connection its time, or end it at once where there are too many."""
        super().connection_made(handler, transport)
        if len(self.connections) > self._most:
            transport.abort()
        else:
            asyncio.get_running_loop().call_later(CONNECTION_S, transport.abort)


class _Connection(RequestHandler):
    """One connection; what is no HTTP gets the answer of a malformed request."""

    __slots__ = ("_http",)

    def __init__(self, http: _BoundedServer, **options: Any) -> None:
        super().__init__(http, **options)
        self._http = http

    def handle_error(
        self,
        request: BaseRequest,  # noqa: ARG002 - as in aiohttp, here and at `message`
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer to what the parser refuses, without a word of it, and to a request at which this process failed."""
        if status >= 500:
            log.error("issuer.request_failed", extra={"why": type(exc).__name__})
            return _response(500, IssuerUnavailable("the issuer failed; its operator sees it in the log"))
        self._http.malformed()
        return _response(400, GrantMalformed("this is no HTTP request, or its head is too long"))


async def _body(request: BaseRequest) -> bytes:
    """The body. Raises ``GrantMalformed`` as soon as it is too long."""
    body = b""
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise GrantMalformed(f"the request has more than {MAX_REQUEST_BYTES} bytes")
    return body


def _certificate(request: BaseRequest) -> bytes:
    """Certificate of the client (DER), verified by TLS as the caller's; b'' where it has none."""
    tls = None if request.transport is None else request.transport.get_extra_info("ssl_object")
    return (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""


def _refusal(refused: Refused) -> web.Response:
    error = GrantError(code=refused.code, message=refused.message, hint=refused.hint)
    if refused.outcome is Outcome.UNAVAILABLE:
        return _json(503, encode_json(GrantDenied(error=error)), refused.retry_after_s or 1.0)
    status = 400 if refused.outcome is Outcome.MALFORMED else 403
    return _json(status, encode_json(GrantDenied(error=error)))


def _response(status: int, error: SigningError) -> web.Response:
    denied = GrantDenied(error=GrantError(code=error.reason, message=error.message, hint=error.hint))
    return _json(status, encode_json(denied), error.retry_after_s)


def _json(status: int, body: bytes, retry_after_s: float | None = None) -> web.Response:
    response = web.Response(status=status, body=body, content_type="application/json")
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    response.headers["Cache-Control"] = "no-store"
    response.force_close()
    return response
