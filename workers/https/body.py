"""Body of a request, received within a bound of bytes and of time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from queueing.errors import Invalid

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest


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
    """The whole body. Raises ``BodyTooLarge`` with the first byte too many, ``BodyTooSlow``, and ``BodyBroken``."""
    try:
        async with asyncio.timeout(within_s):
            async for part in request.content.iter_any():
                body.add(part)
                if len(body.raw) > most_bytes:
                    raise BodyTooLarge(f"a body has at most {most_bytes} bytes")
    except TimeoutError:
        raise BodyTooSlow(f"the body did not come within {within_s:g} s") from None
    except web.RequestPayloadError:
        raise BodyBroken("the body of the request is no HTTP") from None
    return bytes(body.raw)
