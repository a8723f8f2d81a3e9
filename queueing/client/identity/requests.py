"""HTTP requests with a secret in them, in threads: bounded in size and time, without redirects."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from queueing.aio.daemon_calls import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE_BYTES: Final = 16 << 10


class RequestFailed(Exception):
    """No answer; the message has no part of the request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a server. ``retry_after_s``: the header in seconds, None where it is missing or a date."""

    status: int
    body: bytes
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Request; ``body`` None is a GET."""

    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    most_bytes: int


async def send(request: Request, *, timeout_s: float, tls: ssl.SSLContext | None = None) -> Answer:
    """The answer; raises ``RequestFailed`` at the latest when the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            return await in_daemon_thread(_send, request, timeout_s, tls)
    except TimeoutError:
        raise RequestFailed(f"no answer within {timeout_s:g} s") from None


def _send(request: Request, timeout_s: float, tls: ssl.SSLContext | None) -> Answer:
    end_s = time.monotonic() + timeout_s
    parts = urlsplit(request.url)
    path = parts.path or "/"
    try:
        connection = _connection(request.url, timeout_s, tls)
        try:
            method = "GET" if request.body is None else "POST"
            target = f"{path}?{parts.query}" if parts.query else path
            connection.request(method, target, body=request.body, headers=dict(request.headers))
            response = connection.getresponse()
            body = _body(response, request.most_bytes, end_s)
            return Answer(response.status, body, _seconds(response.headers.get("Retry-After")))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise RequestFailed(str(error) or type(error).__name__) from None
    except ValueError:  # of a header: its message quotes the value, which is a secret
        raise RequestFailed(
            "the request cannot be sent: its address, or a header (such as the token), has characters that HTTP does not allow"
        ) from None


def _connection(url: str, timeout_s: float, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context() if tls is None else tls
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)


def _body(response: http.client.HTTPResponse, most_bytes: int, end_s: float) -> bytes:
    body = b""
    while piece := response.read1(_PIECE_BYTES):
        body += piece
        if len(body) > most_bytes:
            raise RequestFailed(f"the answer is longer than {most_bytes} bytes")
        if time.monotonic() > end_s:
            raise RequestFailed("the answer is not complete in time")
    return body


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 7 else None
