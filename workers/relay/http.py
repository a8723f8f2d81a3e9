"""HTTP server of the relay: bounds on connections, headers and bodies, and an answer for every error."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from queueing.client.delivery import relay_messages as messages
from queueing.errors import (
    ConfigError,
    Denied,
    EnvelopeMalformed,
    Invalid,
    LimitBacklog,
    LimitBudget,
    LimitRate,
    QueueUnavailable,
    SigningError,
)
from queueing.protocol.jobs import WireError
from workers.relay.admission import Shed

if TYPE_CHECKING:
    from workers.relay.admission import Admission
    from workers.relay.endpoints import Endpoints, Reply
    from workers.relay.settings import RelayLimits
    from workers.telemetry.relay_metrics import RelayMetrics

log = logging.getLogger("sigmill.relay")

_SILENT: Final = logging.getLogger("sigmill.relay.http")
"""Of aiohttp's own words: they repeat bytes of strangers. What they tell is counted."""

_SILENT.propagate = False
_SILENT.addHandler(logging.NullHandler())

_MOST_LINE_BYTES: Final = 2048
_MOST_HEADERS: Final = 64
_MOST_HEADER_BYTES: Final = 8190
_LINGER_S: Final = 1.0
"""Time in which the rest of a refused body is read, so that its sender sees the answer."""

_LIMITED: Final = (LimitRate, LimitBacklog, LimitBudget)
_RETRY_S: Final = 2.0
_SHED_LOGGED_S: Final = 60.0


class BodyTooLarge(Invalid):
    """The body of the request is too large."""


class BodyTooSlow(Invalid):
    """The body of the request did not come in time."""


class UnknownPath(Invalid):
    """The relay has no such path, or not for this method."""


class RelayHttp(web.Server):
    """Factory of connections, for ``loop.create_server``. ``connections`` is those that are open."""

    def __init__(
        self, endpoints: Endpoints, limits: RelayLimits, *, admission: Admission, metrics: RelayMetrics
    ) -> None:
        super().__init__(
            self._answer,
            handler_cancellation=True,  # a client that has gone does not wait any longer
            keepalive_timeout=limits.header_s,  # also the time for the headers of the first request
            access_log=None,
            logger=_SILENT,
            auto_decompress=False,
            lingering_time=_LINGER_S,
            max_line_size=_MOST_LINE_BYTES,
            max_headers=_MOST_HEADERS,
            max_field_size=_MOST_HEADER_BYTES,
        )
        self._endpoints = endpoints
        self._limits = limits
        self._admission = admission
        self._metrics = metrics
        self._shed_logged_s = -math.inf

    def __call__(self) -> RequestHandler:
        """A connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection, unless there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._limits.connections:
            self._metrics.connections_refused.inc()
            transport.abort()

    def malformed(self) -> None:
        """Count a request that is no HTTP, or exceeds the bounds of a header."""
        self._metrics.requests.labels("none", "malformed").inc()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        endpoint = path.removeprefix("/v1/") if path in self._endpoints.paths else "none"
        began_s = time.monotonic()
        try:
            if path == messages.HEALTH and request.method == "GET":
                return self._health()
            reply = await self._reply(request, path)
        except SigningError as error:
            return self._refusal(error, endpoint)
        except ConfigError as error:  # of the relay's Redis user: the operator's, not the caller's
            log.error("relay.redis_refuses", extra={"why": str(error)})
            return self._refusal(QueueUnavailable("the relay cannot use the queue"), endpoint)
        except (asyncio.CancelledError, ConnectionError):
            self._metrics.requests.labels(endpoint, "left").inc()
            raise
        except Exception:
            log.exception("relay.request_failed", extra={"endpoint": endpoint})
            self._metrics.requests.labels(endpoint, "failed").inc()
            return _json(500, QueueUnavailable("the relay failed; the operator sees it in its log"))
        if path != messages.RESULTS:
            self._metrics.request_seconds.labels(endpoint).observe(time.monotonic() - began_s)
        self._metrics.requests.labels(endpoint, "ok" if reply.limited_s is None else "limited").inc()
        return _message(reply)

    async def _reply(self, request: web.BaseRequest, path: str) -> Reply:
        if path not in self._endpoints.paths or request.method != self._endpoints.method(path):
            raise UnknownPath(f"there is no {request.method[:16]} of this path")
        if request.method == "GET":
            return await self._endpoints.get(path, request.query.get("tenant", ""))
        with self._admission.body() as body:
            try:
                async with asyncio.timeout(self._limits.body_s):
                    async for part in request.content.iter_any():
                        body.add(part)
                        if len(body.raw) > messages.MOST_BODY_BYTES:
                            raise BodyTooLarge(f"a body has at most {messages.MOST_BODY_BYTES} bytes")
            except TimeoutError:
                raise BodyTooSlow from None
            except web.RequestPayloadError:
                raise EnvelopeMalformed("the body of the request is no HTTP") from None
            raw = bytes(body.raw)
        return await self._endpoints.post(path, raw)

    def _health(self) -> web.Response:
        if self._admission.draining:
            return web.Response(status=503, text="no\n")
        return web.Response(text="ok\n")

    def _refusal(self, error: SigningError, endpoint: str) -> web.Response:
        outcome = "refused"
        if isinstance(error, Shed):
            outcome = "shed"
            self._metrics.shed.labels(error.cause).inc()
            self._log_shed(error.cause)
        elif isinstance(error, BodyTooSlow):
            outcome = "slow"
        elif error.retryable:
            outcome = "unavailable"
        self._metrics.requests.labels(endpoint, outcome).inc()
        return _json(_status(error), error)

    def _log_shed(self, cause: str) -> None:
        now_s = time.monotonic()
        if cause != "draining" and now_s - self._shed_logged_s >= _SHED_LOGGED_S:
            self._shed_logged_s = now_s
            log.warning("relay.shedding", extra={"cause": cause, "waiting": self._admission.waiting})


class _Connection(RequestHandler):
    """One connection; what is no HTTP is answered as every other refusal."""

    __slots__ = ("_http",)

    def __init__(self, http: RelayHttp, **options: Any) -> None:
        super().__init__(http, **options)
        self._http = http

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - as in aiohttp, here and below
        status: int = 500,  # noqa: ARG002
        exc: BaseException | None = None,  # noqa: ARG002
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """Answer to what the parser refuses, without a word of it."""
        self._http.malformed()
        return _json(
            400, EnvelopeMalformed("this is no HTTP request, or its headers are too many or too long")
        )


def _status(error: SigningError) -> int:
    match error:
        case BodyTooLarge():
            return 413
        case BodyTooSlow():
            return 408
        case UnknownPath():
            return 404
        case Denied():
            return 403
        case Invalid():
            return 400
        case _:
            return 429 if isinstance(error, _LIMITED) else 503


def _message(reply: Reply) -> web.Response:
    answer = web.Response(body=reply.body, content_type=messages.MESSAGE_TYPE)
    if reply.limited_s is not None:
        answer.set_status(429)
        answer.headers["Retry-After"] = str(math.ceil(reply.limited_s))
    if reply.last:
        answer.force_close()
    return answer


def _json(status: int, error: SigningError) -> web.Response:
    answer = web.Response(
        status=status, body=msgspec.json.encode(WireError.of(error)) + b"\n", content_type="application/json"
    )
    if error.retryable:
        wait_s = error.retry_after_s
        answer.headers["Retry-After"] = str(math.ceil(_RETRY_S if wait_s is None else wait_s))
    if status != 429:  # what was not read of the request is not read as the next one
        answer.force_close()
    return answer
