"""Independent verification accepts valid signatures and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tests.support.keys import rsa_key, spki_of
from workers.dev.signature_checks import count_valid, sha256_check

DIGEST, OTHER = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()
SHA_256 = Prehashed(hashes.SHA256())


def rsa_pair() -> tuple[bytes, bytes]:
    """SPKI, and a signature over DIGEST."""
    key = rsa_key()
    spki = spki_of(key)
    return spki, key.sign(DIGEST, padding.PKCS1v15(), SHA_256)


def p256_pair() -> tuple[bytes, bytes]:
    """SPKI, and a signature over DIGEST."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = spki_of(key)
    return spki, key.sign(DIGEST, ec.ECDSA(SHA_256))


def ed25519_pair() -> tuple[bytes, bytes]:
    """SPKI, and a signature over DIGEST."""
    key = ed25519.Ed25519PrivateKey.generate()
    spki = spki_of(key)
    return spki, key.sign(DIGEST)


@pytest.mark.parametrize("pair", [rsa_pair, p256_pair, ed25519_pair])
def test_only_the_right_digest_and_signature_count(pair: Callable[[], tuple[bytes, bytes]]) -> None:
    """Of a valid pair, one with another digest and one with a flipped bit, only the valid one is counted."""
    spki, signature = pair()
    flipped = bytes([signature[0] ^ 1]) + signature[1:]

    assert count_valid(sha256_check(spki), [(signature, DIGEST), (signature, OTHER), (flipped, DIGEST)]) == 1
