"""Body of a request, received within a bound of bytes and of time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import HttpVersion11, hdrs, web

from queueing.errors import Invalid

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyTooLarge(Invalid):
    """The body of the request is too large."""


class BodyTooSlow(Invalid):
    """The body of the request did not come in time."""


class BodyBroken(Invalid):
    """The body of the request is no HTTP."""


class Body(Protocol):
    """Bytes of one body that is being received."""

    @property
    def raw(self) -> bytearray:
        """Bytes received so far."""

    def add(self, part: bytes) -> None:
        """Take what has come, or raise ``SigningError`` where there is no room for it."""


class UncountedBody:
    """Body of a server that bounds its connections alone."""

    __slots__ = ("raw",)

    def __init__(self) -> None:
        self.raw = bytearray()

    def add(self, part: bytes) -> None:
        """Take what has come."""
        self.raw += part


async def receive(request: BaseRequest, body: Body, *, most_bytes: int, within_s: float) -> bytes:
    """The whole body. Raises ``BodyTooLarge``, by the length that the headers say or with the first byte too many, ``BodyTooSlow``,
    and ``BodyBroken``.

    A client that waits for a word before it sends its body (curl, above 1 MiB) gets it here: so what refuses a request by its
    headers, or for want of room, comes before this call, and the client sends nothing.
    """
    if (request.content_length or 0) > most_bytes:
        raise _too_large(most_bytes)
    try:
        async with asyncio.timeout(within_s):
            if _waits(request):
                await request.writer.write(_CONTINUE)
            async for part in request.content.iter_any():
                body.add(part)
                if len(body.raw) > most_bytes:
                    raise _too_large(most_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not come within {within_s:g} s") from None
    except web.RequestPayloadError:
        raise BodyBroken("the body of the request is no HTTP") from None
    return bytes(body.raw)


def _waits(request: BaseRequest) -> bool:
    """Whether the client waits for ``100 Continue`` (RFC 9110, 10.1.1). Other expectations are ignored, as is that of HTTP/1.0."""
    words = ",".join(request.headers.getall(hdrs.EXPECT, ())).lower().split(",")
    return (
        "100-continue" in {word.strip() for word in words}
        and request.version >= HttpVersion11
        and not request.content.is_eof()
    )


def _too_large(most_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"a body has at most {most_bytes} bytes")
