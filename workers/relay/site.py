"""The relay as a site of an HTTPS server: a request to an operation, and an answer for every error."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from queueing.client.delivery import relay_messages as messages
from queueing.errors import ConfigError, EnvelopeMalformed, QueueUnavailable, SigningError
from queueing.protocol.jobs import WireError
from workers.https.answers import LIMITED, UnknownPath, json_answer, seconds, status_of
from workers.https.body import BodyTooSlow, receive
from workers.relay.admission import Shed
from workers.telemetry.edge_metrics import SHED_CAUSES

if TYPE_CHECKING:
    from workers.relay.admission import Admission
    from workers.relay.endpoints import Endpoints, Reply
    from workers.relay.settings import RelayLimits
    from workers.telemetry.edge_metrics import RelayMetrics

log = logging.getLogger("sigmill.relay")

_RETRY_S: Final = 2.0
_SHED_LOGGED_S: Final = 60.0

_LONG_BYTES: Final = 16 * 1024
"""Answers above are counted; those below have 256 MB on 16,000 connections."""

_PIECE_BYTES: Final = 64 * 1024


class RelaySite:
    """Answers of a relay."""

    def __init__(
        self, endpoints: Endpoints, limits: RelayLimits, *, admission: Admission, metrics: RelayMetrics
    ) -> None:
        self._endpoints = endpoints
        self._limits = limits
        self._admission = admission
        self._metrics = metrics
        self._shed_logged_s = -math.inf
        for cause in SHED_CAUSES:  # rate() does not see the first increase of a new series
            metrics.shed.labels(cause)

    def no_http(self) -> web.StreamResponse:
        """Answer to what the parser refuses."""
        self._metrics.requests.labels("none", "malformed").inc()
        return _json(
            400, EnvelopeMalformed("this is no HTTP request, or its headers are too many or too long")
        )

    def failed(self, error: BaseException | None) -> web.StreamResponse:
        """Answer to a request at which the relay failed."""
        return self._failed(error, "none")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer to one request, whatever goes wrong."""
        path = request.path
        endpoint = path.removeprefix("/v1/") if path in self._endpoints.paths else "none"
        began_s = time.monotonic()
        try:
            if path == messages.HEALTH and request.method == "GET":
                return self._health()
            return await self._send(request, endpoint, await self._reply(request, path), began_s)
        except SigningError as error:
            return self._refusal(error, endpoint)
        except ConfigError as error:  # of the relay's Redis user: the operator's, not the caller's
            log.error("relay.redis_refuses", extra={"why": str(error)})
            return self._refusal(QueueUnavailable("the relay cannot use the queue"), endpoint)
        except (asyncio.CancelledError, ConnectionError):
            self._metrics.requests.labels(endpoint, "left").inc()
            raise
        except Exception as error:  # noqa: BLE001 - a fault costs one request
            return self._failed(error, endpoint)

    async def _reply(self, request: web.BaseRequest, path: str) -> Reply:
        if path not in self._endpoints.paths or request.method != self._endpoints.method(path):
            raise UnknownPath(f"there is no {request.method[:16]} of this path")
        if request.method == "GET":
            return await self._endpoints.get(path, request.query.get("tenant", ""))
        self._endpoints.check_room(path)  # what is shed anyway is neither received nor decoded
        with self._admission.body() as body:
            raw = await receive(
                request, body, most_bytes=messages.MOST_BODY_BYTES, within_s=self._limits.body_s
            )
        return await self._endpoints.post(path, raw)

    async def _send(
        self, request: web.BaseRequest, endpoint: str, reply: Reply, began_s: float
    ) -> web.StreamResponse:
        """The answer; a long one is sent here, and counts until its client has read it. Raises ``Shed``."""
        took_s = time.monotonic() - began_s
        answer = _message(reply)
        if len(reply.body) > _LONG_BYTES:
            with self._admission.answer(reply.tenant, len(reply.body)):
                await _written(answer, request, reply.body)
        if request.path != messages.RESULTS:
            self._metrics.request_seconds.labels(endpoint).observe(took_s)
        self._metrics.requests.labels(endpoint, "ok" if reply.limited_s is None else "limited").inc()
        return answer

    def _health(self) -> web.Response:
        if self._admission.draining:
            return web.Response(status=503, text="no\n")
        return web.Response(text="ok\n")

    def _failed(self, error: BaseException | None, endpoint: str) -> web.Response:
        log.error("relay.request_failed", exc_info=error, extra={"endpoint": endpoint})
        self._metrics.requests.labels(endpoint, "failed").inc()
        return _json(500, QueueUnavailable("the relay failed; the operator sees it in its log"))

    def _refusal(self, error: SigningError, endpoint: str) -> web.Response:
        outcome = "refused"
        if isinstance(error, Shed):
            outcome = "shed"
            self._metrics.shed.labels(error.cause).inc()
            self._log_shed(error)
        elif isinstance(error, BodyTooSlow):
            outcome = "slow"
        elif error.retryable:
            outcome = "unavailable"
        self._metrics.requests.labels(endpoint, outcome).inc()
        return _json(status_of(error), error)

    def _log_shed(self, shed: Shed) -> None:
        now_s = time.monotonic()
        if shed.cause != "draining" and now_s - self._shed_logged_s >= _SHED_LOGGED_S:
            self._shed_logged_s = now_s
            log.warning(
                "relay.shedding",
                extra={"cause": shed.cause, "tenant": shed.tenant, "waiting": self._admission.waiting},
            )


def _message(reply: Reply) -> web.StreamResponse:
    """The answer; one without its body where that is long."""
    if len(reply.body) > _LONG_BYTES:
        answer = web.StreamResponse()
        answer.content_length = len(reply.body)
    else:
        answer = web.Response(body=reply.body)
    answer.content_type = messages.MESSAGE_TYPE
    if reply.limited_s is not None:
        answer.set_status(LIMITED)
        answer.headers["Retry-After"] = seconds(reply.limited_s)
    if reply.last:
        answer.force_close()
    return answer


async def _written(answer: web.StreamResponse, request: web.BaseRequest, body: bytes) -> None:
    """Send a long answer piece by piece: of one that is written whole, TLS hands all to the socket's buffer, whether it is read or not."""
    await answer.prepare(request)
    with memoryview(body) as view:
        for first in range(0, len(view), _PIECE_BYTES):
            await answer.write(bytes(view[first : first + _PIECE_BYTES]))
    await answer.write_eof()


def _json(status: int, error: SigningError) -> web.Response:
    wait_s = None
    if error.retryable:
        wait_s = _RETRY_S if error.retry_after_s is None else error.retry_after_s
    body = msgspec.json.encode(WireError.of(error)) + b"\n"
    return json_answer(status, body, retry_after_s=wait_s, close=status != LIMITED)
