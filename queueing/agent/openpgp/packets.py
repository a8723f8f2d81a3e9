"""OpenPGP packets (RFC 4880, 4.2 and 5): written, and the primary key read from a certificate."""

from __future__ import annotations

import hashlib
import struct
from typing import Final, NamedTuple

SIGNATURE, PUBLIC_KEY, USER_ID = 2, 6, 13
"""Packet tags (RFC 4880, 4.3)."""

RSA, ECDSA = 1, 19
"""Public-key algorithms (RFC 4880, 9.1; RFC 6637, 5)."""

HASHES: Final = {"sha256": 8, "sha384": 9, "sha512": 10}
"""Hash algorithms (RFC 4880, 9.4) by hashlib name."""

CURVE_HASHES: Final = {
    bytes.fromhex("2a8648ce3d030107"): "sha256",
    bytes.fromhex("2b81040022"): "sha384",
    bytes.fromhex("2b81040023"): "sha512",
}
"""Hash that Sigmill signs with a key on this curve (P-256, P-384, P-521), by the content of the curve's OID."""


class NotOpenPgp(ValueError):
    """Bytes that are no OpenPGP certificate of a version 4 RSA or ECDSA key."""


class PrimaryKey(NamedTuple):
    """The body of a primary key packet, and what it says.

    ``numbers``: for RSA modulus and exponent, for ECDSA the OID's content and the uncompressed point, as bytes.
    """

    body: bytes
    created_s: int
    algorithm: int
    numbers: tuple[bytes, bytes]

    @property
    def fingerprint(self) -> bytes:
        """20 bytes (RFC 4880, 12.2)."""
        return hashlib.sha1(framed_key(self.body), usedforsecurity=False).digest()

    def hash_for(self, asked: str | None) -> str:
        """Hash to sign with: the curve's, else the one that was asked for, else SHA-256."""
        return CURVE_HASHES.get(self.numbers[0]) or (asked if asked in HASHES else "sha256")


def framed_key(body: bytes) -> bytes:
    """A key as fingerprints and certifications hash it (RFC 4880, 5.2.4)."""
    return b"\x99" + struct.pack(">H", len(body)) + body


def packet(tag: int, body: bytes) -> bytes:
    """A packet with a header of the new format (RFC 4880, 4.2.2)."""
    size = len(body)
    if size < 192:
        length = bytes((size,))
    elif size < 8384:
        length = bytes((((size - 192) >> 8) + 192, (size - 192) & 0xFF))
    else:
        length = b"\xff" + struct.pack(">I", size)
    return bytes((0xC0 | tag,)) + length + body


def mpi(number: bytes) -> bytes:
    """A multiprecision integer of big-endian bytes (RFC 4880, 3.2)."""
    number = number.lstrip(b"\0")
    bits = len(number) * 8 - (8 - number[0].bit_length()) if number else 0
    return struct.pack(">H", bits) + number


def rsa_key(created_s: int, modulus: bytes, exponent: bytes) -> PrimaryKey:
    """The primary key packet of an RSA key."""
    body = struct.pack(">BIB", 4, created_s, RSA) + mpi(modulus) + mpi(exponent)
    return PrimaryKey(body, created_s, RSA, (modulus.lstrip(b"\0"), exponent.lstrip(b"\0")))


def ecdsa_key(created_s: int, oid: bytes, point: bytes) -> PrimaryKey:
    """The primary key packet of an ECDSA key (RFC 6637, 9): ``oid`` without tag and length, ``point`` uncompressed."""
    body = struct.pack(">BIBB", 4, created_s, ECDSA, len(oid)) + oid + mpi(point)
    return PrimaryKey(body, created_s, ECDSA, (oid, point))


def read_certificate(raw: bytes) -> tuple[PrimaryKey, list[str]]:
    """Primary key and user IDs of a certificate, which is not armored; raises ``NotOpenPgp``."""
    key: PrimaryKey | None = None
    user_ids: list[str] = []
    at = 0
    while at < len(raw):
        tag, body, at = _next_packet(raw, at)
        if tag == PUBLIC_KEY and key is None:
            key = _read_key(body)
        elif tag == USER_ID:
            user_ids.append(body.decode("utf-8", "replace"))
    if key is None:
        raise NotOpenPgp("the certificate has no primary key")
    return key, user_ids


def _next_packet(raw: bytes, at: int) -> tuple[int, bytes, int]:
    try:
        head, first = raw[at], raw[at + 1]
        if not head & 0x80:
            raise NotOpenPgp("a packet of the certificate has an invalid header")
        if head & 0x40:
            tag, start, size = head & 0x3F, *_new_length(raw, at + 1, first)
        else:
            tag, width = (head >> 2) & 0x0F, 1 << (head & 3)
            if width == 8:
                raise NotOpenPgp("a packet has no length")
            start, size = at + 1 + width, int.from_bytes(raw[at + 1 : at + 1 + width], "big")
    except IndexError:
        raise NotOpenPgp("the certificate is truncated in a packet's header") from None
    if start + size > len(raw):
        raise NotOpenPgp("the certificate is truncated in a packet")
    return tag, raw[start : start + size], start + size


def _new_length(raw: bytes, at: int, first: int) -> tuple[int, int]:
    """Start and length of the body."""
    if first < 192:
        return at + 1, first
    if first < 224:
        return at + 2, ((first - 192) << 8) + raw[at + 1] + 192
    if first == 255:
        return at + 5, int.from_bytes(raw[at + 1 : at + 5], "big")
    raise NotOpenPgp("a packet has a partial length")


def _read_key(body: bytes) -> PrimaryKey:
    try:
        version, created_s, algorithm = struct.unpack_from(">BIB", body)
        if version != 4 or algorithm not in (RSA, ECDSA):
            raise NotOpenPgp("the primary key is not of version 4, or neither RSA nor ECDSA")
        if algorithm == RSA:
            modulus, at = _read_mpi(body, 6)
            exponent, _ = _read_mpi(body, at)
            return PrimaryKey(body, created_s, algorithm, (modulus, exponent))
        oid = body[7 : 7 + body[6]]
        point, _ = _read_mpi(body, 7 + len(oid))
    except (struct.error, IndexError):
        raise NotOpenPgp("the primary key is truncated") from None
    return PrimaryKey(body, created_s, algorithm, (oid, point))


def _read_mpi(body: bytes, at: int) -> tuple[bytes, int]:
    (bits,) = struct.unpack_from(">H", body, at)
    end = at + 2 + (bits + 7) // 8
    if end > len(body):
        raise NotOpenPgp("the primary key is truncated")
    return body[at + 2 : end], end
