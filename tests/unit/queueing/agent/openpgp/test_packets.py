"""Packets have the lengths and fields of RFC 4880, and anything else than a certificate is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.openpgp.packets import (
    PUBLIC_KEY,
    USER_ID,
    NotOpenPgp,
    ecdsa_key,
    mpi,
    packet,
    read_certificate,
    rsa_key,
)

P256_OID = bytes.fromhex("2a8648ce3d030107")
KEY = rsa_key(1_700_000_000, b"\xff" * 256, b"\x01\x00\x01")
CERTIFICATE = packet(PUBLIC_KEY, KEY.body) + packet(USER_ID, "Zoë <z@example.com>".encode())


@pytest.mark.parametrize(
    "size, head", [(0, "c200"), (191, "c2bf"), (192, "c2c000"), (8383, "c2dfff"), (8384, "c2ff000020c0")]
)
def test_a_packet_has_the_shortest_length_that_fits(size: int, head: str) -> None:
    """RFC 4880, 4.2.2: one, two or five bytes."""
    assert packet(2, bytes(size))[: -size or None].hex() == head


@pytest.mark.parametrize(
    "number, written", [("01ff", "000901ff"), ("0001", "000101"), ("", "0000"), ("80", "000880")]
)
def test_an_integer_has_its_length_in_bits(number: str, written: str) -> None:
    """RFC 4880, 3.2, with its own examples; leading zeros go."""
    assert mpi(bytes.fromhex(number)).hex() == written


@pytest.mark.parametrize("key", [KEY, ecdsa_key(5, P256_OID, b"\x04" + b"\x07" * 64)])
def test_a_written_key_is_read(key) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Body, date, numbers and so the fingerprint are the same."""
    read, _ = read_certificate(packet(PUBLIC_KEY, key.body))
    assert read == key
    assert read.fingerprint == key.fingerprint
    assert len(read.fingerprint) == 20


def test_user_ids_are_read() -> None:
    """As UTF-8; `--local-user` finds a key by them."""
    assert read_certificate(CERTIFICATE) == (KEY, ["Zoë <z@example.com>"])


def test_headers_of_the_old_format_are_read() -> None:
    """GnuPG exports them (RFC 4880, 4.2.1)."""
    old = b"\x99" + len(KEY.body).to_bytes(2, "big") + KEY.body
    assert read_certificate(old)[0] == KEY


def test_the_curve_decides_the_hash() -> None:
    """Sigmill signs one hash with each curve; an RSA key takes the wanted one, SHA-256 for SHA-1."""
    curve = ecdsa_key(5, P256_OID, b"\x04")
    assert (curve.hash_for("sha512"), KEY.hash_for("sha512")) == ("sha256", "sha512")
    assert (KEY.hash_for(None), KEY.hash_for("sha1")) == ("sha256", "sha256")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\xc6",
        CERTIFICATE[:40],
        packet(USER_ID, b"a"),
        packet(PUBLIC_KEY, b"\x04"),
        packet(PUBLIC_KEY, b"\x06" + KEY.body[1:]),
        packet(PUBLIC_KEY, KEY.body[:5] + b"\x16" + KEY.body[6:]),
        b"\xc6\xe0" + bytes(10),
        b"\x9b" + bytes(10),
    ],
)
def test_what_is_no_certificate_is_told_so(raw: bytes) -> None:
    """Empty, cut, without key, of version 6, EdDSA, of partial or unknown length."""
    with pytest.raises(NotOpenPgp):
        read_certificate(raw)


@given(st.one_of(st.binary(max_size=99), st.integers(0, len(CERTIFICATE) - 1).map(lambda n: CERTIFICATE[:n])))
def test_any_bytes_are_a_certificate_or_not(raw: bytes) -> None:
    """No other exception than ``NotOpenPgp``."""
    with contextlib.suppress(NotOpenPgp):
        read_certificate(raw)
