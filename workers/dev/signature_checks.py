"""Verification of signatures with `cryptography` alone, so that a fault in our own verification shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

Check: TypeAlias = Callable[[bytes, bytes], None]


def sha256_check(spki: bytes) -> Check:
    """A function of (signature, SHA-256 digest) that raises ``InvalidSignature``.

    RSA with PKCS#1 v1.5, ECDSA in DER, Ed25519 over the digest as its message.
    """
    key = load_der_public_key(spki)
    sha256 = Prehashed(hashes.SHA256())
    if isinstance(key, rsa.RSAPublicKey):
        return lambda signature, digest: key.verify(signature, digest, padding.PKCS1v15(), sha256)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return lambda signature, digest: key.verify(signature, digest, ec.ECDSA(sha256))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.verify
    raise TypeError("the demonstration has RSA, ECDSA and Ed25519 keys")


def count_valid(check: Check, pairs: list[tuple[bytes, bytes]]) -> int:
    """Number of the pairs (signature, digest) that verify."""
    return sum(_is_valid(check, signature, digest) for signature, digest in pairs)


def _is_valid(check: Check, signature: bytes, digest: bytes) -> bool:
    try:
        check(signature, digest)
    except InvalidSignature:
        return False
    return True
