"""ASCII armor (RFC 4880, 6.2) and the cleartext signature framework (7.1)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from queueing.agent.openpgp.packets import NotOpenPgp

_ARMOR: Final = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)(?:\r?\n=[A-Za-z0-9+/=]{4})?\r?\n-----END",
    re.DOTALL,
)

_MOST_LINE_BYTES: Final = 19_993


def armored(kind: str, raw: bytes) -> bytes:
    """``raw`` in armor; ``kind``: ``SIGNATURE`` or ``PUBLIC KEY BLOCK``."""
    encoded = base64.b64encode(raw)
    lines = [encoded[i : i + 64] for i in range(0, len(encoded), 64)]
    checksum = b"=" + base64.b64encode(_crc24(raw).to_bytes(3, "big"))
    name = kind.encode()
    parts = [
        b"-----BEGIN PGP " + name + b"-----",
        b"",
        *lines,
        checksum,
        b"-----END PGP " + name + b"-----",
        b"",
    ]
    return b"\n".join(parts)


def unarmored(raw: bytes) -> bytes:
    """The bytes of an armored certificate, or ``raw`` itself if it has no armor; raises ``NotOpenPgp``."""
    if raw[:1] >= b"\x80":
        return raw
    found = _ARMOR.search(raw)
    if found is None:
        raise NotOpenPgp("it has neither a packet nor an armored PUBLIC KEY BLOCK")
    try:
        return base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        raise NotOpenPgp("its armor is damaged") from None


def _crc24(raw: bytes) -> int:
    """Checksum of armor (RFC 4880, 6.1)."""
    crc = 0xB704CE
    for byte in raw:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc


def clear_sign_problem(text: bytes) -> str | None:
    """The reason for which verifiers would read a cleartext message in another way than it is signed; None for a good one.

    GnuPG reads lines of 20,000 bytes, with what is before and behind them, and itself cuts longer ones than here. It takes a NUL
    at the end of a line for a blank, which no other implementation does.
    """
    if b"\0" in text:
        return "has a NUL byte and is no text, so that verifiers would disagree about a signature in it"
    if max(map(len, text.split(b"\n"))) > _MOST_LINE_BYTES:
        return f"has a line of more than {_MOST_LINE_BYTES} bytes, which gpg does not verify"
    return None


def canonical_text(text: bytes) -> bytes:
    """A cleartext message as it is hashed: lines without blanks at their ends, joined by CR LF, none behind the last."""
    lines = text.removesuffix(b"\n").split(b"\n")
    return b"\r\n".join(line.rstrip(b" \t\r") for line in lines)


def cleartext(text: bytes, hash_name: str, signature: bytes) -> bytes:
    """The message with its signature: lines that begin with a dash are escaped."""
    lines = text.removesuffix(b"\n").split(b"\n")
    escaped = b"\n".join(b"- " + line if line.startswith(b"-") else line for line in lines)
    head = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: " + hash_name.upper().encode() + b"\n\n"
    return head + escaped + b"\n" + armored("SIGNATURE", signature)
