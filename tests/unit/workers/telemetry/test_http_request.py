"""Requests are read within limits; bytes that are no request are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.telemetry.http_request import (
    LONGEST_LINE_BYTES,
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    BadRequest,
    Request,
    read_request,
)

SCRAPE = (
    b"GET /metrics?name%5B%5D=up HTTP/1.1\r\nHost: worker:9464\r\nAccept: text/plain;q=0.5\r\nX: \xff\r\n\r\n"
)


def test_a_request_has_method_path_query_and_headers() -> None:
    """Headers go by names in lower case; bytes beyond ASCII in a value harm nothing."""
    assert read_request(SCRAPE) == Request(
        "GET",
        "/metrics",
        "name%5B%5D=up",
        {"host": "worker:9464", "accept": "text/plain;q=0.5", "x": "\xff"},
    )


def test_a_request_is_complete_with_its_last_byte() -> None:
    """However the network cuts it."""
    assert [end for end in range(len(SCRAPE)) if read_request(SCRAPE[:end]) is not None] == []


def test_bare_line_feeds_end_lines() -> None:
    """As netcat sends them (RFC 9112, section 2.2)."""
    assert read_request(b"GET /healthz HTTP/1.0\n\n") == Request("GET", "/healthz")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 50,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"EHLO scanner\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_are_refused(rubbish: bytes) -> None:
    """A TLS hello, another protocol, a malformed line."""
    with pytest.raises(BadRequest, match="400"):
        read_request(rubbish)


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /" + b"a" * LONGEST_LINE_BYTES,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MOST_HEADERS + 3),
        b"GET / HTTP/1.1\r\n" + (b"a: " + b"b" * 4000 + b"\r\n") * (MOST_HEAD_BYTES // 4000 + 1),
    ],
)
def test_a_head_beyond_a_limit_is_refused_before_its_end(endless: bytes) -> None:
    """A long line, many headers, many bytes."""
    with pytest.raises(BadRequest, match="431"):
        read_request(endless)


@given(st.binary(max_size=2000))
def test_no_bytes_raise_anything_else(received: bytes) -> None:
    """A request, a part of one, or a refusal."""
    for head in (received, b"GET / HTTP/1.1\r\n" + received):
        try:
            read_request(head)
        except BadRequest:
            continue
