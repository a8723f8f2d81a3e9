"""Signature algorithm of certificates, requests and CMS by kind of key: its identifier, and the hash of the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import AlgorithmMismatch
from queueing.protocol import der
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS, HASH_OIDS, Scheme

if TYPE_CHECKING:
    from queueing.protocol.algorithms import KeyKind


def signature_algorithm(kind: KeyKind) -> bytes:
    """AlgorithmIdentifier of a signature by a key of this kind over a message, in DER.

    With NULL for RSA (RFC 4055 5), and else without parameters. ``AlgorithmMismatch`` for PSS, whose parameters nothing here writes.
    """
    facts = FACTS[DEFAULT_FOR_KEY[kind]]
    if facts.scheme is Scheme.PSS:
        raise AlgorithmMismatch(f"{kind} keys sign no requests")
    parameters = (der.null(),) if facts.scheme is Scheme.PKCS1V15 else ()
    return der.sequence(der.oid(facts.signature_oid), *parameters)


def message_hash(kind: KeyKind) -> str:
    """Hash of CMS messages by a key of this kind, by its hashlib name (Ed25519: SHA-512, RFC 8419 3.1)."""
    return FACTS[DEFAULT_FOR_KEY[kind]].hash_name or "sha512"


def digest_algorithm(name: str) -> bytes:
    """AlgorithmIdentifier of a hash, in DER, without parameters (RFC 5754 2)."""
    return der.sequence(der.oid(HASH_OIDS[name]))
