"""The few DER forms (X.690) that PKCS#11 wants beside keys and digests: OBJECT IDENTIFIER, OCTET STRING, DigestInfo."""

from __future__ import annotations

import hashlib
from typing import Final

from queueing.protocol.algorithms import HASH_OIDS

SHORT_FORM: Final = 0x80
"""X.690 8.1.3: lengths below 128 take one byte, up to 255 two."""


def der_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER in DER (X.690 8.19), for at most 127 bytes of content."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = b"".join(_base128(arc) for arc in (40 * first + second, *rest))
    return bytes((0x06, len(content))) + content


def octet_string(content: bytes) -> bytes:
    """``content`` (at most 255 bytes) as a DER OCTET STRING, as CKA_EC_POINT wants it."""
    size = len(content)
    return (bytes((0x04, size)) if size < SHORT_FORM else bytes((0x04, 0x81, size))) + content


def digest_info_prefix(hash_name: str) -> bytes:
    """Bytes before a digest in its DigestInfo; CKM_RSA_PKCS adds the padding and nothing else.

    RFC 8017 9.2, note 1: SEQUENCE { SEQUENCE { OID of the hash, NULL }, OCTET STRING header }.
    """
    algorithm = der_oid(HASH_OIDS[hash_name]) + b"\x05\x00"
    algorithm = bytes((0x30, len(algorithm))) + algorithm
    digest_bytes = hashlib.new(hash_name).digest_size
    return bytes((0x30, len(algorithm) + 2 + digest_bytes)) + algorithm + bytes((0x04, digest_bytes))


def _base128(arc: int) -> bytes:
    septets = [arc & 0x7F]
    while arc := arc >> 7:
        septets.append(arc & 0x7F | 0x80)
    return bytes(reversed(septets))
