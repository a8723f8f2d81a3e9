"""Pinned public keys, and the check that a signature is theirs.

On the hot path: by default every signature is verified before it leaves the lane (``verify_after_sign`` of the token), and
again by the client (``verify_signatures``). What can be made once per key (padding, hash, bound method) is made once per key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from queueing.ed25519 import verify_ed25519
from queueing.errors import AlgorithmMismatch, AlgorithmUnknown, Invalid, ResultInvalid
from queueing.protocol.algorithms import (
    FACTS,
    HASH_OIDS,
    KEY_KINDS,
    Algorithm,
    KeyFamily,
    KeyKind,
    Scheme,
    check_digest_length,
)

_Key: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
_Check: TypeAlias = Callable[[bytes, bytes], None]  # (signature, digest); raises InvalidSignature

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    name: getattr(hashes, name.upper())() for name in HASH_OIDS
}
_RSA_KINDS: Final[dict[int, KeyKind]] = {f.rsa_bits: kind for kind, f in KEY_KINDS.items() if f.rsa_bits}
_CURVE_KINDS: Final[dict[str, KeyKind]] = {f.curve: kind for kind, f in KEY_KINDS.items() if f.curve}


def elliptic_curve(kind: KeyKind) -> ec.EllipticCurve:
    """Curve of a kind of EC key, as ``cryptography`` has it."""
    curve: ec.EllipticCurve = getattr(ec, KEY_KINDS[kind].curve.upper())()
    return curve


def unsigned_bytes(number: int) -> bytes:
    """A number as the big integers of PKCS#11 and OpenPGP: big endian, without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key, equal to another if its SubjectPublicKeyInfo (RFC 5280 4.1.2.7) is.

    ``spki`` is DER; ``sha256`` is its fingerprint, 32 bytes. Safe to share between threads.
    """

    spki: bytes
    kind: KeyKind = field(compare=False)
    sha256: bytes = field(compare=False, repr=False)
    _checks: Mapping[Algorithm, _Check] = field(compare=False, repr=False)

    @classmethod
    def from_spki(cls, der: bytes) -> PublicKey:
        """The key in a DER SubjectPublicKeyInfo.

        Raises ``Invalid`` if it cannot be read or is not the one DER encoding of its key (a fingerprint
        must mean one key), ``AlgorithmMismatch`` if it is none of ``KeyKind``.
        """
        try:
            key = load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise Invalid("the public key cannot be read") from exc
        kind = _kind(key)
        if not isinstance(key, _Key) or kind is None:
            raise AlgorithmMismatch("no algorithm signs with a key of this kind")
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
            raise Invalid("the public key is not in its canonical DER encoding")
        fitting = [algorithm for algorithm, facts in FACTS.items() if kind in facts.key_kinds]
        return cls(
            spki=der,
            kind=kind,
            sha256=hashlib.sha256(der).digest(),
            _checks={algorithm: _check(key, algorithm) for algorithm in fitting},
        )

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """Algorithms of a key of this kind."""
        return frozenset(self._checks)

    def verify(self, algorithm: Algorithm, digest: bytes, signature: bytes) -> None:
        """Return if ``signature`` (ECDSA: DER, else raw) is this key's over ``digest``.

        Raises ``ResultInvalid`` if it is not, ``AlgorithmMismatch`` if the key does not sign with
        ``algorithm``, ``DigestLength`` if the digest does not fit it; none is retryable. Costs 25 us
        (RSA-2048) to 900 us (P-384).
        """
        check = self._checks.get(algorithm)
        if check is None:
            raise AlgorithmMismatch(f"{self.kind} keys do not sign with {algorithm}")
        if len(digest) not in FACTS[algorithm].digest_lengths:
            check_digest_length(algorithm, len(digest))
        try:
            check(signature, digest)
        except InvalidSignature:
            raise ResultInvalid("the signature does not verify under the pinned public key") from None


def _kind(key: object) -> KeyKind | None:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA_KINDS.get(key.key_size)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVE_KINDS.get(key.curve.name)
    return _CURVE_KINDS.get("ed25519") if isinstance(key, ed25519.Ed25519PublicKey) else None


def _check(key: _Key, algorithm: Algorithm) -> _Check:
    """Check of the algorithm's signatures; ``AlgorithmUnknown`` (final) for a scheme that is not written here."""
    facts = FACTS[algorithm]
    if isinstance(key, ed25519.Ed25519PublicKey) and facts.scheme is Scheme.EDDSA:
        return partial(verify_ed25519, key)
    hash_ = None if facts.hash_name is None else _HASHES[facts.hash_name]
    if hash_ is not None and isinstance(key, ec.EllipticCurvePublicKey) and facts.scheme is Scheme.ECDSA:
        return _ec_check(key, ec.ECDSA(Prehashed(hash_)))
    if hash_ is not None and isinstance(key, rsa.RSAPublicKey):
        if facts.scheme is Scheme.PKCS1V15:
            return _rsa_check(key, padding.PKCS1v15(), Prehashed(hash_))
        if facts.scheme is Scheme.PSS:
            return _rsa_check(key, _pss(hash_), Prehashed(hash_))
    raise AlgorithmUnknown(f"{algorithm}: no check of {facts.scheme} signatures by such keys is known")


def _pss(hash_: hashes.HashAlgorithm) -> padding.PSS:
    """RFC 8017 8.1 as AWS KMS has it: MGF1 with the same hash, salt as long as the hash."""
    return padding.PSS(mgf=padding.MGF1(hash_), salt_length=hash_.digest_size)


def _ec_check(key: ec.EllipticCurvePublicKey, algorithm: ec.ECDSA) -> _Check:
    verify = key.verify

    def check(signature: bytes, digest: bytes) -> None:
        verify(signature, digest, algorithm)

    return check


def _rsa_check(key: rsa.RSAPublicKey, pad: padding.AsymmetricPadding, hash_: Prehashed) -> _Check:
    verify = key.verify

    def check(signature: bytes, digest: bytes) -> None:
        verify(signature, digest, pad, hash_)

    return check


def placeholder_key(kind: KeyKind) -> PublicKey:
    """Unused public key of this kind, to check a configuration before the real key is created."""
    key = _placeholder(kind)
    return PublicKey.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _placeholder(kind: KeyKind) -> _Key:
    facts = KEY_KINDS[kind]
    match facts.family:
        case KeyFamily.RSA:
            return rsa.RSAPublicNumbers(e=65537, n=(1 << facts.rsa_bits) - 1).public_key()
        case KeyFamily.EC:
            return ec.derive_private_key(1, elliptic_curve(kind)).public_key()
        case KeyFamily.EDWARDS:
            return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
