"""Head of an HTTP request (RFC 9112), read within limits; the body, which no page here needs, is not read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

MOST_HEAD_BYTES: Final = 16 * 1024
LONGEST_LINE_BYTES: Final = 8 * 1024
MOST_HEADERS: Final = 64
"""Prometheus sends about ten headers, 500 bytes together; browsers and proxies add cookies."""

_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[0-9]")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_BEGINNING: Final = re.compile(rb"[\r\n]*(?:[A-Z]|\Z)")
"""First bytes of a request; a TLS hello begins with 0x16."""


class BadRequest(ValueError):
    """The bytes are no request within the limits; ``status`` is the answer to them."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """Method, path, query and headers; names of headers are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def read_request(received: bytes) -> Request | None:
    """The request, or None while its head is not complete. Raises ``BadRequest`` as soon as it cannot become one."""
    if _BEGINNING.match(received) is None:
        raise BadRequest("400 Bad Request")
    lines = received.lstrip(b"\r\n").replace(b"\r\n", b"\n").split(b"\n")
    if max(map(len, lines)) > LONGEST_LINE_BYTES or len(received) > MOST_HEAD_BYTES:
        raise BadRequest("431 Request Header Fields Too Large")
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None and len(lines) > 1:
        raise BadRequest("400 Bad Request")
    if len(lines) - 1 > MOST_HEADERS + 2:
        raise BadRequest("431 Request Header Fields Too Large")
    try:
        end = lines.index(b"", 1)
    except ValueError:
        return None
    if end == len(lines) - 1 or first is None:
        return None  # the last line is what has come of the next one: not yet the empty line
    path, _, query = first[2].decode("ascii").partition("?")
    return Request(first[1].decode("ascii"), path, query, dict(map(_header, lines[1:end])))


def _header(line: bytes) -> tuple[str, str]:
    found = _HEADER.fullmatch(line)
    if found is None:
        raise BadRequest("400 Bad Request")
    return found[1].decode("ascii").lower(), found[2].decode("latin-1").strip()
