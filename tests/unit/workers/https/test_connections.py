"""Real connections of a server over a transport in memory: what a client waits for, and what must not be logged as a fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from prometheus_client import CollectorRegistry

from queueing.errors import SigningError
from tests.support.waiting import turn
from workers.https.answers import json_answer, status_of
from workers.https.body import UncountedBody, receive
from workers.https.server import Bounds, HttpsServer
from workers.telemetry.edge_metrics import HttpsMetrics

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler
    from aiohttp.web_request import BaseRequest

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self.is_read = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All is kept."""


class Echo:
    """A site that answers with a body of at most ten bytes."""

    def __init__(self) -> None:
        self.faults: list[BaseException | None] = []
        self.malformed = 0

    async def answer(self, request: BaseRequest) -> web.StreamResponse:
        try:
            return web.Response(body=await receive(request, UncountedBody(), most_bytes=10, within_s=60.0))
        except SigningError as error:
            return json_answer(status_of(error), b"{}")

    def no_http(self) -> web.StreamResponse:
        self.malformed += 1
        return web.Response(status=400)

    def failed(self, error: BaseException | None) -> web.StreamResponse:
        self.faults.append(error)
        return web.Response(status=500)


class ServerSetup:
    """A connection to a server whose answers end also for a client that has gone, as the issuer's front."""

    def __init__(self) -> None:
        self.site = Echo()
        bounds = Bounds(connections=9, header_s=60.0, answer_s=60.0, cancel_when_left=False)
        self.server = HttpsServer(self.site, bounds, HttpsMetrics(CollectorRegistry()))
        self.wire = Wire()
        self.connection: RequestHandler = self.server()
        self.connection.connection_made(self.wire)

    async def sends(self, *lines: str, body: bytes = b"", version: str = "1.1") -> None:
        head = "\r\n".join((f"POST / HTTP/{version}", "Host: relay", *lines, "", ""))
        self.connection.data_received(head.encode() + body)
        await turn()


@pytest.mark.parametrize(
    "expectation",
    [
        "Expect: 100-continue",
        "expect: 100-Continue",
        "Expect: x, 100-continue",
        "Expect: x\r\nExpect: 100-continue",
    ],
    ids=["as curl", "other letters", "in a list", "of two headers"],
)
async def test_a_client_that_waits_for_a_word_before_its_body_gets_it(expectation: str) -> None:
    """And its answer after the body; without the word it would wait until the time of the body is over."""
    setup = ServerSetup()
    await setup.sends(expectation, "Content-Length: 4")
    assert setup.wire.sent == GO_ON
    setup.connection.data_received(b"body")
    await turn()
    answer = setup.wire.sent.removeprefix(GO_ON)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nbody")


async def test_a_client_whose_body_would_be_too_large_need_not_send_it() -> None:
    """It gets 413 instead of the word."""
    setup = ServerSetup()
    await setup.sends("Expect: 100-continue", "Content-Length: 11")
    assert setup.wire.sent.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "lines, body, version",
    [
        (("Content-Length: 4",), b"body", "1.1"),
        (("Expect: 100-continue", "Content-Length: 4"), b"body", "1.1"),
        (("Expect: 100-continue", "Content-Length: 4"), b"body", "1.0"),
        (("Expect: 200-ok", "Content-Length: 4"), b"body", "1.1"),
        (("Expect: 100-continue",), b"", "1.1"),
    ],
    ids=["nothing said", "the body has come", "HTTP/1.0", "another expectation", "no body"],
)
async def test_other_requests_get_their_answer_alone(
    lines: tuple[str, ...], body: bytes, version: str
) -> None:
    """A word that was not asked for would be taken for the answer by old clients (RFC 9110, 10.1.1)."""
    setup = ServerSetup()
    await setup.sends(*lines, body=body, version=version)
    assert setup.wire.sent.split(b" ", 2)[1] == b"200"
    assert setup.wire.sent.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("parser", [HttpRequestParser, HttpRequestParserPy], ids=["C", "Python"])
async def test_a_client_that_sends_requests_ahead_is_read_no_further(
    parser: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll waits for its results, and what follows waits behind it: without a bound, one connection fills the memory."""
    monkeypatch.setattr("aiohttp.web_protocol.HttpRequestParser", parser)
    setup = ServerSetup()
    setup.connection.data_received(b"POST / HTTP/1.1\r\nHost: relay\r\n\r\n" * 100)
    assert not setup.wire.is_read
    for _ in range(100):
        await turn()
    assert (setup.wire.is_read, setup.wire.sent.count(b" 200 OK")) == (True, 100)


async def test_a_client_that_leaves_within_its_body_is_no_fault_of_the_site() -> None:
    """Any stranger can do it, as often as it likes: the site would log an error for each."""
    setup = ServerSetup()
    await setup.sends("Content-Length: 4", body=b"bo")
    setup.connection.connection_lost(None)
    await turn()
    assert (setup.site.faults, setup.wire.sent) == ([], b"")


async def test_a_length_of_5000_digits_ends_the_connection_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is counted as no HTTP; aiohttp's parser in Python, which the issuer uses, fails at it (``int()`` reads 4,300 digits)."""
    monkeypatch.setattr("aiohttp.web_protocol.HttpRequestParser", HttpRequestParserPy)
    setup = ServerSetup()
    setup.connection.data_received(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"
    )
    assert (setup.wire.closed, setup.wire.sent, setup.site.malformed) == (True, b"", 1)
