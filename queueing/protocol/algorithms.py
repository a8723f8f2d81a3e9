"""Signing algorithms by their AWS KMS names, and kinds of key: one table of facts for each, and one for hashes.

A kind of key of a known family (RSA, an SEC curve) and an algorithm of a known scheme are added here alone: ``KeyKind`` with its
row in ``KEY_KINDS``, ``Algorithm`` with its row in ``FACTS`` (a curve is named in the row of its algorithm, too), and a hash in
``HASH_OIDS``. What else is needed, and fails loudly until it is there:

- new scheme: ``_row`` in ``workers/hsm/mechanisms.py`` (PKCS#11 mechanism) and ``_check`` in ``protocol/public_keys.py``; its
  identifier in ``workers/pki/schemes.py`` (requests, statements) and ``queueing/artifacts/cms.py`` (files), which refuse others;
- new family: ``KEY_TYPE`` in ``workers/hsm/mechanisms.py``; ``_kind``, ``_check`` and ``_placeholder`` in
  ``protocol/public_keys.py``; and ``curve_point`` and ``ec_spki`` in ``workers/hsm/encodings.py`` (points of its objects).

Optional, and left out until it is there: ``queueing/agent/signing_input.py`` (tools may ask for the scheme),
``queueing/agent/openpgp/certificate.py`` (OpenPGP knows the scheme),
``bench/ceiling/probe.py`` (bare loops with the family), ``bench/capacity/hsm_rates.py`` (relative rates, for estimates).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from queueing.errors import AlgorithmUnknown, DigestLength


class KeyKind(StrEnum):
    """Kinds of key that sign, by modulus size or curve; ``KEY_KINDS`` has their facts."""

    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    P256 = "P256"
    P384 = "P384"
    P521 = "P521"
    ED25519 = "ED25519"


class Scheme(StrEnum):
    """Signature schemes (RFC 8017 8.2 and 8.1; FIPS 186-5 6; RFC 8032 5.1)."""

    PKCS1V15 = "PKCS1V15"
    PSS = "PSS"
    ECDSA = "ECDSA"
    EDDSA = "EDDSA"


class Algorithm(StrEnum):
    """Signing algorithm. ECDSA signatures are DER (RFC 3279 2.2.3); the rest are raw.

    ED25519 signs messages: here the message is a SHA-256, SHA-384 or SHA-512 digest, unchanged.
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
    """One row: scheme, hash by hashlib name (None: any of ``digest_lengths``), and kinds of key that sign with it.

    ``signature_oid``: OID of the signature in certificates and requests (RFC 4055 5, RFC 5758 3.2, RFC 8410 3).
    """

    scheme: Scheme
    signature_oid: str
    hash_name: str | None
    digest_lengths: frozenset[int]
    key_kinds: frozenset[KeyKind]


class KeyFamily(StrEnum):
    """Families of key kinds, by the structure of their public key."""

    RSA = "RSA"
    EC = "EC"
    EDWARDS = "EDWARDS"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyKindFacts:
    """One row: all that is known of a kind of key.

    ``rsa_bits``: size of the modulus, 0 for other families. ``curve``: name by SEC 2, or ``ed25519``; ``curve_oid``: its
    OID; ``point_bytes``: length of its encoded point; empty or 0 for RSA. ``signature_bytes``: length of a raw signature,
    as C_Sign returns it. ``default_algorithm`` signs where none is named. ``cost``: see ``signing_costs``.
    """

    family: KeyFamily
    rsa_bits: int = 0
    curve: str = ""
    curve_oid: str = ""
    point_bytes: int = 0
    signature_bytes: int
    default_algorithm: Algorithm
    cost: float


def _rsa(bits: int, cost: float) -> KeyKindFacts:
    return KeyKindFacts(
        family=KeyFamily.RSA,
        rsa_bits=bits,
        signature_bytes=bits // 8,
        default_algorithm=Algorithm.RSASSA_PKCS1_V1_5_SHA_256,
        cost=cost,
    )


def _ec(bits: int, curve: str, oid: str, algorithm: Algorithm, cost: float) -> KeyKindFacts:
    """Points are uncompressed, 04 || x || y (SEC 1 2.3.3); raw signatures are r || s (PKCS#11 3.1, 6.3.1)."""
    coordinate_bytes = -(-bits // 8)
    return KeyKindFacts(
        family=KeyFamily.EC,
        curve=curve,
        curve_oid=oid,
        point_bytes=1 + 2 * coordinate_bytes,
        signature_bytes=2 * coordinate_bytes,
        default_algorithm=algorithm,
        cost=cost,
    )


KEY_KINDS: Final[dict[KeyKind, KeyKindFacts]] = {
    KeyKind.RSA_2048: _rsa(2048, cost=1.0),
    KeyKind.RSA_3072: _rsa(3072, cost=3.0),
    KeyKind.RSA_4096: _rsa(4096, cost=8.0),
    # RFC 5480 2.1.1.1
    KeyKind.P256: _ec(256, "secp256r1", "1.2.840.10045.3.1.7", Algorithm.ECDSA_SHA_256, cost=0.15),
    KeyKind.P384: _ec(384, "secp384r1", "1.3.132.0.34", Algorithm.ECDSA_SHA_384, cost=1.0),
    KeyKind.P521: _ec(521, "secp521r1", "1.3.132.0.35", Algorithm.ECDSA_SHA_512, cost=1.0),
    KeyKind.ED25519: KeyKindFacts(
        family=KeyFamily.EDWARDS,
        curve="ed25519",
        curve_oid="1.3.101.112",  # RFC 8410 3
        point_bytes=32,  # RFC 8032 5.1.2
        signature_bytes=64,  # RFC 8032 5.1.6: R || S
        default_algorithm=Algorithm.ED25519,
        cost=0.3,
    ),
}

HASH_OIDS: Final[dict[str, str]] = {
    # by hashlib name; RFC 8017 B.1
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}

_RSA: Final = frozenset(kind for kind, facts in KEY_KINDS.items() if facts.family is KeyFamily.RSA)


def _row(scheme: Scheme, bits: int, oid: str, key_kinds: frozenset[KeyKind]) -> AlgorithmFacts:
    return AlgorithmFacts(
        scheme=scheme,
        signature_oid=oid,
        hash_name=f"sha{bits}",
        digest_lengths=frozenset({bits // 8}),
        key_kinds=key_kinds,
    )


FACTS: Final[dict[Algorithm, AlgorithmFacts]] = {
    Algorithm.RSASSA_PKCS1_V1_5_SHA_256: _row(Scheme.PKCS1V15, 256, "1.2.840.113549.1.1.11", _RSA),
    Algorithm.RSASSA_PKCS1_V1_5_SHA_384: _row(Scheme.PKCS1V15, 384, "1.2.840.113549.1.1.12", _RSA),
    Algorithm.RSASSA_PKCS1_V1_5_SHA_512: _row(Scheme.PKCS1V15, 512, "1.2.840.113549.1.1.13", _RSA),
    Algorithm.RSASSA_PSS_SHA_256: _row(Scheme.PSS, 256, "1.2.840.113549.1.1.10", _RSA),
    Algorithm.RSASSA_PSS_SHA_384: _row(Scheme.PSS, 384, "1.2.840.113549.1.1.10", _RSA),
    Algorithm.RSASSA_PSS_SHA_512: _row(Scheme.PSS, 512, "1.2.840.113549.1.1.10", _RSA),
    Algorithm.ECDSA_SHA_256: _row(Scheme.ECDSA, 256, "1.2.840.10045.4.3.2", frozenset({KeyKind.P256})),
    Algorithm.ECDSA_SHA_384: _row(Scheme.ECDSA, 384, "1.2.840.10045.4.3.3", frozenset({KeyKind.P384})),
    Algorithm.ECDSA_SHA_512: _row(Scheme.ECDSA, 512, "1.2.840.10045.4.3.4", frozenset({KeyKind.P521})),
    Algorithm.ED25519: AlgorithmFacts(
        scheme=Scheme.EDDSA,
        signature_oid="1.3.101.112",
        hash_name=None,
        digest_lengths=frozenset({32, 48, 64}),
        key_kinds=frozenset({KeyKind.ED25519}),
    ),
}

DEFAULT_FOR_KEY: Final[dict[KeyKind, Algorithm]] = {
    kind: facts.default_algorithm for kind, facts in KEY_KINDS.items()
}


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of this name; ``AlgorithmUnknown`` (final) otherwise."""
    try:
        return Algorithm(name)
    except ValueError:
        near = difflib.get_close_matches(name.upper().replace("-", "_"), list(Algorithm), n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(Algorithm)}."
        raise AlgorithmUnknown("the algorithm's name is not known", hint=hint) from None


def check_digest_length(algorithm: Algorithm, length: int) -> None:
    """Raise ``DigestLength`` (final) unless the algorithm signs digests of ``length`` bytes."""
    facts = FACTS[algorithm]
    if length not in facts.digest_lengths:
        expected = " or ".join(str(n) for n in sorted(facts.digest_lengths))
        raise DigestLength(f"{algorithm} signs {expected} bytes, the digest has {length}")
