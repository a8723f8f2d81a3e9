"""Signing algorithms by their AWS KMS names, and digests that never travel without one.

What each algorithm signs, and with which keys, is one table here; how a PKCS#11 module is told so is
another, in ``workers.hsm.mechanisms``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from queueing.errors import AlgorithmUnknown, DigestLength


class KeyKind(StrEnum):
    """The kinds of key that sign, by modulus size or curve."""

    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    P256 = "P256"
    P384 = "P384"
    P521 = "P521"
    ED25519 = "ED25519"


class Scheme(StrEnum):
    """The signature schemes (RFC 8017 8.2 and 8.1; FIPS 186-5 6; RFC 8032 5.1)."""

    PKCS1V15 = "PKCS1V15"
    PSS = "PSS"
    ECDSA = "ECDSA"
    EDDSA = "EDDSA"


class Algorithm(StrEnum):
    """Signing algorithm. ECDSA signatures are DER (RFC 3279 2.2.3); the rest are raw.

    ED25519 signs messages: here the message is a SHA-256, SHA-384 or SHA-512 digest, as it stands.
    PSS uses MGF1 with the same hash and a salt as long as the hash, as AWS KMS does.
    """

    RSASSA_PKCS1_V1_5_SHA_256 = "RSASSA_PKCS1_V1_5_SHA_256"
    RSASSA_PKCS1_V1_5_SHA_384 = "RSASSA_PKCS1_V1_5_SHA_384"
    RSASSA_PKCS1_V1_5_SHA_512 = "RSASSA_PKCS1_V1_5_SHA_512"
    RSASSA_PSS_SHA_256 = "RSASSA_PSS_SHA_256"
    RSASSA_PSS_SHA_384 = "RSASSA_PSS_SHA_384"
    RSASSA_PSS_SHA_512 = "RSASSA_PSS_SHA_512"
    ECDSA_SHA_256 = "ECDSA_SHA_256"
    ECDSA_SHA_384 = "ECDSA_SHA_384"
    ECDSA_SHA_512 = "ECDSA_SHA_512"
    ED25519 = "ED25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmFacts:
    """One row: the scheme, the hash by hashlib name (None: any of ``digest_lengths``), the fitting keys."""

    scheme: Scheme
    hash_name: str | None
    digest_lengths: frozenset[int]
    key_kinds: frozenset[KeyKind]


_RSA: Final = frozenset({KeyKind.RSA_2048, KeyKind.RSA_3072, KeyKind.RSA_4096})


def _row(scheme: Scheme, bits: int, key_kinds: frozenset[KeyKind]) -> AlgorithmFacts:
    return AlgorithmFacts(
        scheme=scheme, hash_name=f"sha{bits}", digest_lengths=frozenset({bits // 8}), key_kinds=key_kinds
    )


FACTS: Final[dict[Algorithm, AlgorithmFacts]] = {
    Algorithm.RSASSA_PKCS1_V1_5_SHA_256: _row(Scheme.PKCS1V15, 256, _RSA),
    Algorithm.RSASSA_PKCS1_V1_5_SHA_384: _row(Scheme.PKCS1V15, 384, _RSA),
    Algorithm.RSASSA_PKCS1_V1_5_SHA_512: _row(Scheme.PKCS1V15, 512, _RSA),
    Algorithm.RSASSA_PSS_SHA_256: _row(Scheme.PSS, 256, _RSA),
    Algorithm.RSASSA_PSS_SHA_384: _row(Scheme.PSS, 384, _RSA),
    Algorithm.RSASSA_PSS_SHA_512: _row(Scheme.PSS, 512, _RSA),
    Algorithm.ECDSA_SHA_256: _row(Scheme.ECDSA, 256, frozenset({KeyKind.P256})),
    Algorithm.ECDSA_SHA_384: _row(Scheme.ECDSA, 384, frozenset({KeyKind.P384})),
    Algorithm.ECDSA_SHA_512: _row(Scheme.ECDSA, 512, frozenset({KeyKind.P521})),
    Algorithm.ED25519: AlgorithmFacts(
        scheme=Scheme.EDDSA,
        hash_name=None,
        digest_lengths=frozenset({32, 48, 64}),
        key_kinds=frozenset({KeyKind.ED25519}),
    ),
}

DEFAULT_FOR_KEY: Final[dict[KeyKind, Algorithm]] = {
    KeyKind.RSA_2048: Algorithm.RSASSA_PKCS1_V1_5_SHA_256,
    KeyKind.RSA_3072: Algorithm.RSASSA_PKCS1_V1_5_SHA_256,
    KeyKind.RSA_4096: Algorithm.RSASSA_PKCS1_V1_5_SHA_256,
    KeyKind.P256: Algorithm.ECDSA_SHA_256,
    KeyKind.P384: Algorithm.ECDSA_SHA_384,
    KeyKind.P521: Algorithm.ECDSA_SHA_512,
    KeyKind.ED25519: Algorithm.ED25519,
}


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of this name; ``AlgorithmUnknown`` (final) otherwise."""
    try:
        return Algorithm(name)
    except ValueError:
        raise AlgorithmUnknown("the algorithm's name is not known") from None


def check_digest_length(algorithm: Algorithm, length: int) -> None:
    """Raise ``DigestLength`` (final) unless the algorithm signs digests of ``length`` bytes."""
    facts = FACTS[algorithm]
    if length not in facts.digest_lengths:
        expected = " or ".join(str(n) for n in sorted(facts.digest_lengths))
        raise DigestLength(f"{algorithm} signs {expected} bytes, the digest has {length}")
