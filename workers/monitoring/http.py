"""HTTP GET, bounded in time and size."""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import urlsplit

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
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(option, "", f"`{url}` is not a valid URL", "Write it as http://HOST:PORT.")
    return url.rstrip("/")


def get(url: str) -> bytes:
    """Return the body of the page. Raises ``PageUnavailable`` (retryable) unless the status is 200."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    )
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise PageUnavailable(f"{parts.netloc} does not answer: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise PageUnavailable(f"{parts.netloc} answers {answer.status} {answer.reason}")
    if len(body) > MOST_BYTES:
        raise PageUnavailable(f"{parts.netloc} sends more than {MOST_BYTES >> 20} MiB")
    return body
