"""HTTP requests for time-stamps (RFC 3161 3.4), in threads: bounded in size and time, without redirects.

Proxies are taken from the environment (``http_proxy``, ``no_proxy``).
"""

from __future__ import annotations

import asyncio
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from queueing.artifacts.time_stamps.servers import TransportFailed
from queueing.artifacts.time_stamps.tokens import LARGEST_ANSWER_BYTES

_SOCKET_S: Final = 15.0
"""For a connection, and between two packets."""

_ANSWER_S: Final = 30.0
"""For the whole answer: a server that sends a byte now and then is none."""

_PIECE_BYTES: Final = 16 << 10
_URL_FORM: Final = "give an address as http://HOST/PATH or https://HOST/PATH"


def check_url(url: str) -> str | None:
    """The reason for which this is no address of a time-stamp server; None for a good one."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return _URL_FORM
    if good and parts.username is not None:
        return "a name and password in the address are not sent; use a server without"
    return None if good and url.isascii() and url.isprintable() and " " not in url else _URL_FORM


class HttpTransport:
    """Way to time-stamp servers by HTTP (``queueing.artifacts.time_stamps.servers.Transport``)."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="time-stamp")
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    async def post(self, url: str, body: bytes) -> bytes:
        """The answer's body; raises ``TransportFailed``."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._post, url, body)

    def close(self) -> None:
        """Begin no more requests; those under way end by their time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _post(self, url: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/timestamp-query", "User-Agent": "sigmill"}
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310  # `check_url`
        try:
            with self._opener.open(request, timeout=_SOCKET_S) as answer:
                return _body(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise TransportFailed(f"the server answers {error.code}") from None
        except urllib.error.URLError as error:
            raise TransportFailed(f"the server cannot be reached: {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TransportFailed(f"the connection failed: {str(error) or type(error).__name__}") from None


def _body(answer: http.client.HTTPResponse) -> bytes:
    body, end_s = b"", time.monotonic() + _ANSWER_S
    while piece := answer.read1(_PIECE_BYTES):
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            raise TransportFailed(f"the answer is longer than {LARGEST_ANSWER_BYTES} bytes")
        if time.monotonic() > end_s:
            raise TransportFailed(f"the answer is not complete after {_ANSWER_S:.0f} s")
    if answer.length:
        raise TransportFailed(f"the answer is cut: {answer.length} bytes are missing")
    return body
