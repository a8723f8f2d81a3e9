"""A provider whose answer never ends, however lively it is, holds up the refresh of its keys for a bounded time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest

from workers.dev.trial_tls import write_authority_and_server
from workers.issuer import fetching
from workers.issuer.fetching import FetchFailed, KeySource, fetch_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\n"


def dribble(connection: socket.socket, tls: ssl.SSLContext, begin: bytes) -> None:
    """After the handshake send the beginning, and then a byte now and then, until the peer has gone."""
    with contextlib.suppress(OSError), tls.wrap_socket(connection, server_side=True) as peer:
        peer.sendall(begin)
        while True:
            peer.sendall(b"x")
            time.sleep(0.02)


def dribble_before_tls(connection: socket.socket, _tls: ssl.SSLContext, begin: bytes) -> None:
    """Send the begin of a record of TLS with 16 KiB, and then a byte now and then."""
    with contextlib.suppress(OSError), connection:
        connection.sendall(begin)
        while True:
            connection.sendall(b"\x00")
            time.sleep(0.02)


@contextlib.contextmanager
def serving(
    folder: Path, answer: Callable[[socket.socket, ssl.SSLContext, bytes], None], begin: bytes
) -> Iterator[str]:
    """Address of a server that answers one connection; its authority is ``ca.pem``."""
    write_authority_and_server(folder, host="127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: answer(listener.accept()[0], tls, begin), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "answer, begin",
    [
        (dribble, HEAD + b"X-Long: "),
        (dribble, HEAD + b"Content-Length: 100000\r\n\r\n"),
        (dribble_before_tls, b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"),
    ],
    ids=["headers", "body", "handshake"],
)
def test_a_provider_that_dribbles_is_given_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[socket.socket, ssl.SSLContext, bytes], None],
    begin: bytes,
) -> None:
    """A byte now and then meets the time-out of no single read. The connection is closed."""
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.4)
    with serving(tmp_path, answer, begin) as url:
        source = KeySource(issuer_url=url, jwks_url=f"{url}/keys", ca_file=tmp_path / "ca.pem")
        with pytest.raises(FetchFailed, match=r"takes longer than 0\.4 s"):
            fetch_keys(source, time.time())
