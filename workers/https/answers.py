"""Answers as JSON, and the HTTP status of an error (RFC 9110, section 15; 429: RFC 6585)."""

from __future__ import annotations

import math
from typing import Final

from aiohttp import web

from queueing.errors import Denied, Invalid, LimitBacklog, LimitBudget, LimitRate, SigningError
from workers.https.body import BodyTooLarge, BodyTooSlow

LIMITED: Final = 429
_LIMITS: Final = (LimitRate, LimitBacklog, LimitBudget)


class UnknownPath(Invalid):
    """The server has no such path, or not for this method."""


def json_answer(
    status: int, body: bytes, *, retry_after_s: float | None = None, close: bool = True
) -> web.Response:
    """Answer with a JSON body. ``close``: end the connection, so that the rest of the request is not read as the next one."""
    answer = web.Response(status=status, body=body, content_type="application/json")
    if retry_after_s is not None:
        answer.headers["Retry-After"] = seconds(retry_after_s)
    if close:
        answer.force_close()
    return answer


def seconds(wait_s: float) -> str:
    """Value of ``Retry-After`` (RFC 9110, 10.2.3): whole seconds, at least one."""
    return str(max(1, math.ceil(wait_s)))


def status_of(error: SigningError) -> int:
    """HTTP status of an error; 503 for all that is neither the caller's fault nor a tenant's limit."""
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
            return LIMITED if isinstance(error, _LIMITS) else 503
