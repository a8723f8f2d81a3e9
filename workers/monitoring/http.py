"""HTTP GET, bounded in time and size."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from typing import Final
from urllib.parse import SplitResult, urlsplit

from queueing.errors import ConfigError, Unavailable

TIMEOUT_S: Final = 5.0
MOST_BYTES: Final = 64 * 1024 * 1024
"""A metrics page of a worker has some hundred kB."""


class PageUnavailable(Unavailable):
    """A metrics page cannot be read."""

    reason = "metrics.unavailable"
    hint = "Check the address in `[metrics]` or `[exporter]`, and that the process is running."


def check_url(option: str, url: str) -> str:
    """Return the URL. Raises ``ConfigError`` where it is not an HTTP URL of a host."""
    if not _is_url_of_host(url):
        raise ConfigError(option, "", f"`{url}` is not a valid URL", "Write it as http://HOST:PORT.")
    return url.rstrip("/")


def _is_url_of_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False


def get(url: str) -> bytes:
    """Return the body of the page. Raises ``PageUnavailable`` (retryable) unless the status is 200, also for a text that is no URL."""
    try:
        parts = urlsplit(url)
        with contextlib.closing(_connection(parts)) as connection:
            connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PageUnavailable(f"{_place(url)} does not answer: {type(error).__name__}: {error}") from error
    if answer.status != http.client.OK:
        raise PageUnavailable(f"{_place(url)} answers {answer.status} {answer.reason}")
    if len(body) > MOST_BYTES:
        raise PageUnavailable(f"{_place(url)} sends more than {MOST_BYTES >> 20} MiB")
    return body


def _place(url: str) -> str:
    """Host and port, as this text has them."""
    return url.partition("://")[2].partition("/")[0] or url


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        return http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
