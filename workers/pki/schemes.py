"""Signature algorithm of certificates, requests and CMS by kind of key: its identifier, and the hash of the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors import AlgorithmMismatch
from queueing.protocol import der
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS, HASH_OIDS, Algorithm

if TYPE_CHECKING:
    from queueing.protocol.algorithms import KeyKind

_IDENTIFIERS: Final[dict[Algorithm, bytes]] = {
    # RFC 4055 5 (RSA, with NULL), RFC 5758 3.2 (ECDSA, without parameters), RFC 8410 3
    Algorithm.RSASSA_PKCS1_V1_5_SHA_256: der.sequence(der.oid("1.2.840.113549.1.1.11"), der.null()),
    Algorithm.ECDSA_SHA_256: der.sequence(der.oid("1.2.840.10045.4.3.2")),
    Algorithm.ECDSA_SHA_384: der.sequence(der.oid("1.2.840.10045.4.3.3")),
    Algorithm.ECDSA_SHA_512: der.sequence(der.oid("1.2.840.10045.4.3.4")),
    Algorithm.ED25519: der.sequence(der.oid("1.3.101.112")),
}


def signature_algorithm(kind: KeyKind) -> bytes:
    """AlgorithmIdentifier of a signature by a key of this kind over a message, in DER."""
    identifier = _IDENTIFIERS.get(DEFAULT_FOR_KEY[kind])
    if identifier is None:
        raise AlgorithmMismatch(f"{kind} keys sign no requests")
    return identifier


def message_hash(kind: KeyKind) -> str:
    """Hash of CMS messages by a key of this kind, by its hashlib name (Ed25519: SHA-512, RFC 8419 3.1)."""
    return FACTS[DEFAULT_FOR_KEY[kind]].hash_name or "sha512"


def digest_algorithm(name: str) -> bytes:
    """AlgorithmIdentifier of a hash, in DER, without parameters (RFC 5754 2)."""
    return der.sequence(der.oid(HASH_OIDS[name]))
