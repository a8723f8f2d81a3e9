"""Signature algorithm of certificates, requests and CMS by kind of key: its identifier, the hash of the message, and its check."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from queueing.errors import AlgorithmMismatch, SigningError
from queueing.protocol import der
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS, HASH_OIDS, Scheme

if TYPE_CHECKING:
    from queueing.protocol.algorithms import KeyKind
    from queueing.protocol.public_keys import PublicKey


def signature_algorithm(kind: KeyKind) -> bytes:
    """AlgorithmIdentifier of a signature by a key of this kind over a message, in DER.

    With NULL for RSA (RFC 4055 5), and without parameters for ECDSA and EdDSA. ``AlgorithmMismatch`` for other schemes.
    """
    facts = FACTS[DEFAULT_FOR_KEY[kind]]
    match facts.scheme:
        case Scheme.PKCS1V15:
            return der.sequence(der.oid(facts.signature_oid), der.null())
        case Scheme.ECDSA | Scheme.EDDSA:
            return der.sequence(der.oid(facts.signature_oid))
    raise AlgorithmMismatch(f"{kind} keys sign no requests")


def message_hash(kind: KeyKind) -> str:
    """Hash of CMS messages by a key of this kind, by its hashlib name (Ed25519: SHA-512, RFC 8419 3.1)."""
    return FACTS[DEFAULT_FOR_KEY[kind]].hash_name or "sha512"


def digest_algorithm(name: str) -> bytes:
    """AlgorithmIdentifier of a hash, in DER, without parameters (RFC 5754 2)."""
    return der.sequence(der.oid(HASH_OIDS[name]))


def is_signature(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the key signed the message by its default algorithm."""
    algorithm = DEFAULT_FOR_KEY[key.kind]
    hash_name = FACTS[algorithm].hash_name
    try:
        if hash_name is not None:
            key.verify(algorithm, hashlib.new(hash_name, message).digest(), signature)
            return True
        verifier = load_der_public_key(key.spki)
        assert isinstance(verifier, ed25519.Ed25519PublicKey)
        verifier.verify(signature, message)
    except (SigningError, InvalidSignature):
        return False
    return True


def openssl_verifies_cms(kind: KeyKind) -> bool:
    """Whether each OpenSSL 3 verifies CMS by keys of this kind: EdDSA (RFC 8419) from 3.5 on, before it says `invalid digest`.

    All of them verify requests and certificates by EdDSA keys.
    """
    return FACTS[DEFAULT_FOR_KEY[kind]].hash_name is not None
