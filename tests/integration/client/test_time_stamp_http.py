"""Requests for time-stamps over HTTP, against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from queueing.artifacts.time_stamps.http import Exchange, HttpTransport, check_url
from queueing.artifacts.time_stamps.servers import TransportFailed
from queueing.artifacts.time_stamps.tokens import LARGEST_ANSWER_BYTES, TimeStampRequest
from tests.support.ports import free_port
from tests.support.time_stamps import TimeStampAuthority
from workers.dev.trial_tls import write_authority_and_server


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


def join_calls() -> None:
    """Return when no thread is in a request."""
    for thread in threading.enumerate():
        if thread.name == "network-call":
            thread.join()


@pytest.fixture
def transport() -> HttpTransport:
    return HttpTransport()


async def test_an_answer_is_its_body(transport: HttpTransport) -> None:
    """The body is returned without a look at its type, since the token in it is verified."""
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


@contextlib.contextmanager
def trickling(first: bytes, then: bytes) -> Iterator[int]:
    """A server that sends ``first``, and ``then`` again and again, until its client has gone; its port."""
    gone = threading.Event()

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connected, _ = listening.accept()
            with connected:
                connected.sendall(first)
                while not gone.wait(0.02):
                    connected.sendall(then)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            gone.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # a client whose time was over first never comes
            thread.join()


TRICKLES = {
    "the status line": ("http", b"HTTP/1.1 200 ", b"O"),
    "headers": ("http", b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "interim answers": ("http", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x"),
    "a chunk": ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "the handshake of TLS": ("https", b"\x16\x03\x03\x40\x00", b"\0"),
}


@pytest.mark.parametrize("part", TRICKLES)
async def test_a_server_that_sends_a_byte_now_and_then_has_no_more_than_its_time(part: str) -> None:
    """In any part of an answer, and its thread ends: a time-out between packets would never come."""
    scheme, first, then = TRICKLES[part]
    transport = HttpTransport(total_s=0.3)
    with trickling(first, then) as port:
        with pytest.raises(TransportFailed, match=r"not complete after 0\.3 s"):
            await transport.post(f"{scheme}://127.0.0.1:{port}/", b"query")
        join_calls()


async def test_a_request_that_is_given_up_holds_no_thread(transport: HttpTransport) -> None:
    """A cancelled request ends its thread, although the server keeps sending."""
    with trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n") as port:
        task = asyncio.create_task(transport.post(f"http://127.0.0.1:{port}/", b"query"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        join_calls()


def test_no_connection_is_begun_when_the_time_is_over() -> None:
    """No connection is made after the total time or after ``end``."""
    exchange = Exchange(total_s=0.0)
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(OSError):
        exchange.connect(("127.0.0.1", listening.getsockname()[1]), 1.0)
    exchange = Exchange(total_s=60.0)
    exchange.end()
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(TimeoutError):
        exchange.connect(("127.0.0.1", listening.getsockname()[1]), 1.0)


async def test_a_server_that_is_away_is_a_failure(transport: HttpTransport) -> None:
    """A server that is away is ``TransportFailed``, which says that it cannot be reached."""
    with pytest.raises(TransportFailed, match="cannot be reached"):
        await transport.post(f"http://127.0.0.1:{free_port()}/", b"query")


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[TimeStampAuthority]:
    """An authority behind HTTPS; ``ca.pem`` is the root of its server."""
    write_authority_and_server(tmp_path, host="127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with TimeStampAuthority(tmp_path / "tsa", tls=tls) as running:
        yield running


async def test_https_is_verified_by_the_roots_that_the_environment_names(
    authority: TimeStampAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority of a company has a root of its own: SSL_CERT_FILE names it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    transport = HttpTransport()
    request = TimeStampRequest(hash_name="sha256", imprint=bytes(32), nonce=7)
    assert request.opened(await transport.post(authority.url, request.encoded())).token
    with pytest.raises(
        TransportFailed, match="certificate verify failed"
    ):  # its certificate has another name
        await transport.post(authority.url.replace("127.0.0.1", "localhost"), request.encoded())


async def test_https_of_an_unknown_root_is_refused(
    authority: TimeStampAuthority, transport: HttpTransport
) -> None:
    """An unknown root is ``TransportFailed`` with OpenSSL's reason."""
    with pytest.raises(TransportFailed, match="certificate verify failed"):
        await transport.post(authority.url, b"query")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/", "http://", "http:///x", "http://a b/", "http://[::1", "http://ä/", "x", "http://x:99999/", "http://me:secret@x/"]
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """An address that is not HTTP or HTTPS with a valid host is refused."""
    assert check_url(url) is not None


def test_addresses() -> None:
    """HTTP and HTTPS with a host, port and path are accepted."""
    assert check_url("https://tsa.example/rfc3161?x=1") is None
    assert check_url("http://127.0.0.1:8080/") is None
