"""Bodies of requests: bounds of bytes and time, and what is no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import web
from multidict import CIMultiDict

from queueing.errors import Denied, EnvelopeMalformed, LimitRate, QueueUnavailable, SigningError
from workers.https.answers import UnknownPath, json_answer, status_of
from workers.https.body import BodyBroken, BodyTooLarge, BodyTooSlow, UncountedBody, receive


class Request:
    """A request whose body comes in these parts; an exception is raised, None never comes."""

    content_length = None
    headers: Final = CIMultiDict[str]()

    def __init__(self, *parts: bytes | Exception | None) -> None:
        self._parts = parts
        self.content = self
        self.read = 0

    async def iter_any(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if part is None:
                await asyncio.Event().wait()
            elif isinstance(part, Exception):
                raise part
            else:
                self.read += 1
                yield part


async def received(request: Request, within_s: float = 60.0) -> bytes:
    made: Any = request
    return await receive(made, UncountedBody(), most_bytes=10, within_s=within_s)


async def test_parts_become_one_body() -> None:
    """Up to the bound."""
    assert await received(Request(b"12345", b"", b"67890")) == b"1234567890"
    assert await received(Request()) == b""


async def test_a_body_too_large_is_refused_at_its_first_byte_too_many() -> None:
    """What follows is not read."""
    request = Request(b"1234567890", b"x", b"y")
    with pytest.raises(BodyTooLarge):
        await received(request)
    assert request.read == 2


async def test_a_body_that_does_not_come_is_refused() -> None:
    """After its time."""
    with pytest.raises(BodyTooSlow):
        await received(Request(b"12", None), within_s=0.0)


async def test_chunks_that_are_none_are_the_callers_fault() -> None:
    """400, and the error has none of the bytes."""
    with pytest.raises(BodyBroken) as caught:
        await received(Request(b"12", web.RequestPayloadError("bytes of a stranger")))
    assert status_of(caught.value) == 400
    assert "stranger" not in str(caught.value)


@pytest.mark.parametrize(
    "error, status",
    [
        (BodyTooLarge(""), 413),
        (BodyTooSlow(""), 408),
        (BodyBroken(""), 400),
        (UnknownPath(""), 404),
        (EnvelopeMalformed(""), 400),
        (Denied(""), 403),
        (LimitRate("", retry_after_s=1.0), 429),
        (QueueUnavailable(""), 503),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, SigningError) else None,
)
def test_each_kind_of_error_has_a_status(error: SigningError, status: int) -> None:
    """Callers decide by it whether to come back."""
    assert status_of(error) == status


@pytest.mark.parametrize("wait_s, header", [(0.0, "1"), (0.2, "1"), (1.2, "2"), (None, None)])
async def test_retry_after_is_in_whole_seconds(wait_s: float | None, header: str | None) -> None:
    """Rounded up: a caller that comes back earlier is refused again."""
    assert json_answer(503, b"{}", retry_after_s=wait_s).headers.get("Retry-After") == header
