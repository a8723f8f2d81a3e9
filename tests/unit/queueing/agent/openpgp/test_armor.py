"""Armor and cleartext messages are those of RFC 4880."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.openpgp.armor import armored, canonical_text, cleartext, unarmored
from queueing.agent.openpgp.packets import NotOpenPgp


def test_armor_has_lines_and_a_checksum() -> None:
    """The example of RFC 4880, 6.6, with its CRC-24."""
    lines = ["yDgBO22WxBHv7O8X7O/jygAEzol56iUKiXmV+XmpCtmpqQUKiQrFqclFqUDBovzS", "vBSFjNSiVHsuAA=="]
    raw = base64.b64decode("".join(lines))
    assert armored("SIGNATURE", raw).decode().splitlines() == [
        "-----BEGIN PGP SIGNATURE-----",
        "",
        *lines,
        "=njUN",
        "-----END PGP SIGNATURE-----",
    ]


@given(st.binary(min_size=1, max_size=300).map(lambda raw: b"\xc6" + raw))
def test_armored_certificates_are_read(raw: bytes) -> None:
    """Also with CR LF, and with headers such as Comment."""
    text = armored("PUBLIC KEY BLOCK", raw)
    assert unarmored(text) == raw
    assert unarmored(text.replace(b"\n", b"\r\n")) == raw
    assert unarmored(text.replace(b"-----\n\n", b"-----\nComment: x\n\n", 1)) == raw
    assert unarmored(raw) == raw


@given(st.binary(max_size=200))
def test_any_bytes_are_armored_or_not(raw: bytes) -> None:
    """No other exception than ``NotOpenPgp``."""
    with contextlib.suppress(NotOpenPgp):
        unarmored(raw)


@pytest.mark.parametrize(
    "text, hashed",
    [
        (b"", b""),
        (b"one\ntwo\n", b"one\r\ntwo"),
        (b"one\ntwo", b"one\r\ntwo"),
        (b"blanks \t\nend\n\n", b"blanks\r\nend\r\n"),
        (b"one\r\ntwo\r\n", b"one\r\ntwo"),
    ],
)
def test_cleartext_is_hashed_without_blanks_at_the_ends_of_lines(text: bytes, hashed: bytes) -> None:
    """RFC 4880, 7.1: lines end in CR LF, but for the last one."""
    assert canonical_text(text) == hashed


def test_lines_with_a_dash_are_escaped() -> None:
    """Otherwise a line could end the message (RFC 4880, 7.1)."""
    message = cleartext(b"-----BEGIN\nplain\n", "sha256", b"s").decode()
    assert message.startswith(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n- -----BEGIN\nplain\n-----BEGIN PGP SIG"
    )
