"""Certificates that the command lines make of no key: odd versions, doubled extensions, names that are no text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.protocol import der

_KEY = ec.derive_private_key(5, ec.SECP256R1())
_ECDSA = der.sequence(der.oid("1.2.840.10045.4.3.2"))
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "build")]).public_bytes()
CODE_SIGNING = der.sequence(der.oid("2.5.29.37"), der.octets(der.sequence(der.oid("1.3.6.1.5.5.7.3.3"))))
_X400_NAME = der.sequence(der.oid("2.5.29.17"), der.octets(der.sequence(der.tagged(0xA3, der.sequence()))))


def certificate(*extensions: bytes, version: int = 2, serial: int = 7, name: bytes = _NAME) -> bytes:
    """A certificate in DER; its signature is not looked at."""
    spki = _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
    parts = [
        der.context(0, der.integer(version)), der.integer(serial), _ECDSA, name,
        der.sequence(der.time(begin), der.time(end)), name, spki,
    ]  # fmt: skip
    if extensions:
        parts.append(der.context(3, der.sequence(*extensions)))
    return der.sequence(der.sequence(*parts), _ECDSA, der.bit_string(b"signature"))


UNREADABLE: Final = {
    "a version from the future": certificate(version=33),
    "an extension twice": certificate(CODE_SIGNING, CODE_SIGNING),
    "an alternative name of an unknown type": certificate(_X400_NAME),
    "an extension that is cut off": certificate(der.sequence(der.oid("2.5.29.37"), der.octets(b"\x30\x05"))),
    "a name that is no text": certificate(
        name=der.sequence(
            der.tagged(der.SET, der.sequence(der.oid("2.5.4.3"), der.tagged(0x0C, b"\xff\xfe")))
        )
    ),
    "nothing": b"",
    "a cut one": certificate()[:-1],
    "bytes behind it": certificate() + b"\0",
}
"""What no reader takes, by its fault."""
