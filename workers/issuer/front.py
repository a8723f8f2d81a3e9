"""The issuer's front as a site of an HTTPS server: requests go to the lane as they come. It has no key of the issuer, and logs no token.

A connection serves one request and has a time limit, whatever it sends. The entry of the process sets ``AIOHTTP_NO_EXTENSIONS``
before this module is imported.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from queueing.errors import GrantMalformed, Invalid, IssuerUnavailable, SigningError
from queueing.protocol.grants.grant_request import (
    CHECK_PATH,
    MAX_REQUEST_BYTES,
    PATH,
    GrantDenied,
    GrantError,
    GrantIssued,
    encode_json,
    tenant_of,
)
from workers.https.answers import json_answer, status_of
from workers.https.body import UncountedBody, receive
from workers.https.server import Bounds
from workers.issuer.frames import Granted, Judged, Refused
from workers.issuer.identity.certificates import MAX_CERTIFICATE_BYTES
from workers.issuer.identity.refusals import Outcome
from workers.issuer.lane_client import MOST_WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web
    from aiohttp.web_request import BaseRequest

    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.issuer.lane_client import LaneClient
    from workers.telemetry.edge_metrics import IssuerMetrics

log = logging.getLogger("sigmill.issuer")

HEADER_S: Final = 10.0
BODY_S: Final = 10.0
CONNECTION_S: Final = 30.0
"""Longest time of a connection, from the end of its handshake: the answer of the lane takes at most half of it."""

_UNKNOWN: Final = "unknown"

_TIMES: Final = 3
"""Share of the places before the lane: one tenant has at most three times as many as are free beside them, three quarters alone."""

_RETRY_AFTER_S: Final = 2.0


def bounds(connections: int) -> Bounds:
    """Bounds of a front's server. A request that has reached the lane is answered there, so that it is not cancelled here."""
    return Bounds(
        connections=connections,
        header_s=HEADER_S,
        answer_s=BODY_S,
        connection_s=CONNECTION_S,
        cancel_when_left=False,
    )


class TenantPlaces:
    """Places before the lane, of which no tenant takes all: the builds of one that come at once leave room for another's.

    The tenant is what a request says of itself. So this is for farms that ask too often, and not against an attacker, who may
    name any tenant; names of no tenant have one share together.
    """

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Number of requests that have a place."""
        return self._taken.total()

    @contextlib.contextmanager
    def held(self, tenant: str) -> Iterator[None]:
        """Within the block the tenant has a place more. Raises ``IssuerUnavailable``. The first place may be the last that is free."""
        free, own = self._whole - self.taken, self._taken[tenant]
        if not free or (own and own + 1 > _TIMES * (free - 1)):
            raise IssuerUnavailable(
                "too many requests of this tenant wait before"
                if free
                else f"{self._whole} requests wait before",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]


class Front:
    """Answers of one issuer."""

    def __init__(self, configuration: IssuerConfiguration, lane: LaneClient, metrics: IssuerMetrics) -> None:
        self._configuration = configuration
        self._lane = lane
        self._metrics = metrics
        self._places = TenantPlaces(MOST_WAITING)
        for outcome in Outcome:  # rate() does not see the first increase of a new series
            for provider in (*configuration.providers, *configuration.certificates, _UNKNOWN):
                metrics.grants.labels(provider, outcome)

    async def answer(self, request: BaseRequest) -> web.Response:
        """Answer to one request; the connection ends with it."""
        if request.path not in {PATH, CHECK_PATH}:
            return _response(404, GrantMalformed(f"there is nothing here but {PATH}"))
        if request.method != "POST":
            return _response(405, GrantMalformed("a request for a grant is a POST"))
        try:
            self._lane.check_room()  # what is sent away anyway need not send its body
            body = await receive(request, UncountedBody(), most_bytes=MAX_REQUEST_BYTES, within_s=BODY_S)
            with self._places.held(self._tenant(body)):
                answer = await self._lane.ask(body, _certificate(request), check=request.path == CHECK_PATH)
        except IssuerUnavailable as error:
            self.count("", Outcome.UNAVAILABLE)
            return _response(503, error)
        except Invalid as error:  # of the body: too large, too slow, no HTTP
            self.count("", Outcome.MALFORMED)
            return _response(status_of(error), GrantMalformed(error.message))
        if isinstance(answer, Granted):
            self.count(answer.provider, Outcome.ISSUED)
            issued = GrantIssued(grant=answer.grant, expires_ms=answer.expires_ms)
            return _json(200, encode_json(issued))
        if isinstance(answer, Judged):
            self.count(answer.provider, Outcome.CHECKED)
            return _json(200, answer.body)
        self.count(answer.provider, answer.outcome)
        return _refusal(answer)

    def _tenant(self, body: bytes) -> str:
        """Tenant that the request names, if it has a file; '' for any other."""
        tenant = tenant_of(body)
        try:
            return tenant if tenant and self._configuration.tenant_file(tenant).exists() else ""
        except OSError:  # the front need not be able to read them
            return ""

    def no_http(self) -> web.StreamResponse:
        """Answer to what the parser refuses."""
        self.count("", Outcome.MALFORMED)
        return _response(400, GrantMalformed("this is no HTTP request, or its head is too long"))

    def failed(self, error: BaseException | None) -> web.StreamResponse:
        """Answer to a request at which the front failed."""
        log.error("issuer.request_failed", extra={"why": type(error).__name__})
        return _response(500, IssuerUnavailable("the issuer failed; its operator sees it in the log"))

    def count(self, provider: str, outcome: Outcome) -> None:
        """Count the outcome of a request."""
        known = provider in self._configuration.providers or provider in self._configuration.certificates
        self._metrics.grants.labels(provider if known else _UNKNOWN, outcome).inc()


def _certificate(request: BaseRequest) -> bytes:
    """Certificate of the client (DER), verified by TLS as the caller's; b'' where it has none, or one that is too long for the lane."""
    tls = None if request.transport is None else request.transport.get_extra_info("ssl_object")
    certificate: bytes = (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""
    return certificate if len(certificate) <= MAX_CERTIFICATE_BYTES else b""


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
    answer = json_answer(status, body, retry_after_s=retry_after_s)
    answer.headers["Cache-Control"] = "no-store"
    return answer
