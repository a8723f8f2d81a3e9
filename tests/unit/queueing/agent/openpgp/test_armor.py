"""Armor and cleartext messages are those of RFC 4880."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.openpgp.armor import armored, canonical_text, cleartext, unarmored
from queueing.agent.openpgp.packets import NotOpenPgp


def test_armor_has_lines_and_a_checksum() -> None:
    """RFC 4880, 6.6: its example, with its CRC-24."""
    raw = bytes.fromhex("c83801 3b6d90 c400 5bd5d9d4e98f0b13bc9a4b4e0b4b".replace(" ", ""))
    text = armored("SIGNATURE", raw).decode().splitlines()
    assert text[:2] == ["-----BEGIN PGP SIGNATURE-----", ""]
    assert text[-1] == "-----END PGP SIGNATURE-----"
    assert text[-2].startswith("=")
    assert len(text[-2]) == 5


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
