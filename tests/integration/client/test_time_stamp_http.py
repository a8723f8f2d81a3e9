"""Requests for time-stamps over HTTP, against servers that misbehave."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from queueing.artifacts.time_stamps.http import HttpTransport, check_url
from queueing.artifacts.time_stamps.servers import TransportFailed
from queueing.artifacts.time_stamps.tokens import LARGEST_ANSWER_BYTES
from tests.support.ports import free_port


@contextlib.contextmanager
def server(status: int, body: bytes, *, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A server that answers each request so, without a length."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/"
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(threads=1)
    yield made
    made.close()


async def test_an_answer_is_its_body(transport: HttpTransport) -> None:
    """Its type does not matter: the token in it is verified."""
    with server(200, b"token") as url:
        assert await transport.post(url, b"query") == b"token"


@pytest.mark.parametrize(
    "status, body, headers, words",
    [
        (500, b"", {}, "answers 500"),
        (302, b"", {"Location": "file:///etc/passwd"}, "answers 302"),
        (307, b"", {"Location": "http://127.0.0.1:1/"}, "answers 307"),
        (200, bytes(LARGEST_ANSWER_BYTES + 1), {}, "longer than"),
        (200, b"cut", {"Content-Length": "10"}, "7 bytes are missing"),
    ],
)
async def test_another_answer_is_a_failure_with_a_sentence(
    transport: HttpTransport, status: int, body: bytes, headers: dict[str, str], words: str
) -> None:
    """Redirects are not followed, and no body fills the memory."""
    with server(status, body, headers=headers) as url, pytest.raises(TransportFailed, match=words):
        await transport.post(url, b"query")


async def test_a_server_that_is_away_is_a_failure(transport: HttpTransport) -> None:
    """With the reason."""
    with pytest.raises(TransportFailed, match="cannot be reached"):
        await transport.post(f"http://127.0.0.1:{free_port()}/", b"query")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "http://", "http:///x", "http://a b/", "http://[::1", "http://ä/", "x", "http://x:99999/", "http://me:secret@x/"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Only HTTP and HTTPS, with a host."""
    assert check_url(url) is not None


def test_addresses() -> None:
    assert check_url("https://tsa.example/rfc3161?x=1") is None
    assert check_url("http://127.0.0.1:8080/") is None
