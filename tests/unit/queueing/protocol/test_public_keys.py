"""A pinned public key accepts its own signatures over the right digest with the right algorithm: nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.errors import AlgorithmMismatch, AlgorithmUnknown, DigestLength, Invalid, ResultInvalid
from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind, Scheme
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import generate_key

Private: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
PAIRS = [(kind, algorithm) for algorithm, facts in FACTS.items() for kind in sorted(facts.key_kinds)]


@cache
def private(kind: KeyKind) -> Private:
    return generate_key(kind)


def spki(key: Private | x25519.X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(key: Private, algorithm: Algorithm, digest: bytes, *, salt: int | None = None) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(digest)
    hash_ = HASHES[FACTS[algorithm].hash_name or ""]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(Prehashed(hash_)))
    if FACTS[algorithm].scheme is Scheme.PKCS1V15:
        return key.sign(digest, padding.PKCS1v15(), Prehashed(hash_))
    pss = padding.PSS(padding.MGF1(hash_), hash_.digest_size if salt is None else salt)
    return key.sign(digest, pss, Prehashed(hash_))


def digest_for(algorithm: Algorithm, fill: int = 7) -> bytes:
    return bytes([fill]) * max(FACTS[algorithm].digest_lengths)


@pytest.mark.parametrize("kind", KeyKind)
def test_the_kind_and_the_fingerprint_come_from_the_spki(kind: KeyKind) -> None:
    der = spki(private(kind))
    key = PublicKey.from_spki(der)
    assert key.kind is kind
    assert key.spki == der
    assert key.sha256 == hashlib.sha256(der).digest()
    assert key.algorithms == {a for a, facts in FACTS.items() if kind in facts.key_kinds}


@pytest.mark.parametrize("kind, algorithm", PAIRS)
def test_each_algorithm_verifies_what_its_key_signed(kind: KeyKind, algorithm: Algorithm) -> None:
    key = private(kind)
    digest = digest_for(algorithm)
    PublicKey.from_spki(spki(key)).verify(algorithm, digest, sign(key, algorithm, digest))


@pytest.mark.parametrize("kind, algorithm", PAIRS)
def test_another_digest_a_changed_and_a_cut_signature_are_refused(
    kind: KeyKind, algorithm: Algorithm
) -> None:
    key, digest = private(kind), digest_for(algorithm)
    public, signature = PublicKey.from_spki(spki(key)), sign(key, algorithm, digest)
    flipped = signature[:-1] + bytes([signature[-1] ^ 1])
    for wrong_digest, wrong_signature in [
        (digest_for(algorithm, 8), signature),
        (digest, flipped),
        (digest, signature[:-1]),
        (digest, signature + b"\0"),
        (digest, b""),
    ]:
        with pytest.raises(ResultInvalid) as caught:
            public.verify(algorithm, wrong_digest, wrong_signature)
        assert not caught.value.retryable


@pytest.mark.parametrize("kind", KeyKind)
def test_an_algorithm_that_does_not_fit_the_key_is_refused(kind: KeyKind) -> None:
    public = PublicKey.from_spki(spki(private(kind)))
    for algorithm in set(Algorithm) - public.algorithms:
        with pytest.raises(AlgorithmMismatch):
            public.verify(algorithm, digest_for(algorithm), b"signature")


@pytest.mark.parametrize("kind, algorithm", PAIRS)
@pytest.mark.parametrize("length", [0, 1, 20, 31, 33, 100_000])
def test_a_digest_of_the_wrong_length_is_refused(kind: KeyKind, algorithm: Algorithm, length: int) -> None:
    with pytest.raises(DigestLength):
        PublicKey.from_spki(spki(private(kind))).verify(algorithm, bytes(length), b"signature")


def test_another_key_of_the_same_kind_is_refused() -> None:
    digest = digest_for(Algorithm.ECDSA_SHA_256)
    signature = sign(private(KeyKind.P256), Algorithm.ECDSA_SHA_256, digest)
    other = PublicKey.from_spki(spki(generate_key(KeyKind.P256)))
    with pytest.raises(ResultInvalid):
        other.verify(Algorithm.ECDSA_SHA_256, digest, signature)


@pytest.mark.parametrize("salt", [0, 20, 64])
def test_a_pss_salt_of_another_length_than_the_hash_is_refused(salt: int) -> None:
    key, algorithm = private(KeyKind.RSA_2048), Algorithm.RSASSA_PSS_SHA_256
    digest = digest_for(algorithm)
    with pytest.raises(ResultInvalid):
        PublicKey.from_spki(spki(key)).verify(algorithm, digest, sign(key, algorithm, digest, salt=salt))


@pytest.mark.parametrize(
    "der", [b"", b"nonsense", spki(private(KeyKind.P256))[:-1]], ids=["empty", "no-der", "cut-short"]
)
def test_a_value_that_is_no_public_key_is_invalid(der: bytes) -> None:
    with pytest.raises(Invalid):
        PublicKey.from_spki(der)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - the size is the point
        lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
        x25519.X25519PrivateKey.generate,
    ],
)
def test_a_key_of_a_kind_that_does_not_sign_here_is_refused(make: Callable[[], Private]) -> None:
    with pytest.raises(AlgorithmMismatch):
        PublicKey.from_spki(spki(make()))


def test_a_second_encoding_of_a_key_is_refused_for_a_fingerprint_means_one_key() -> None:
    key = private(KeyKind.P256)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    uncompressed = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    compressed = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    header = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    assert spki(key).endswith(uncompressed)
    with pytest.raises(Invalid):
        PublicKey.from_spki(header + compressed)


def test_keys_are_equal_if_their_spki_is() -> None:
    der = spki(private(KeyKind.P256))
    assert PublicKey.from_spki(der) == PublicKey.from_spki(der)
    assert hash(PublicKey.from_spki(der)) == hash(PublicKey.from_spki(der))
    assert PublicKey.from_spki(der) != PublicKey.from_spki(spki(private(KeyKind.P384)))


@pytest.mark.parametrize(
    "algorithm, scheme",
    [
        (Algorithm.RSASSA_PSS_SHA_256, Scheme.EDDSA),
        (Algorithm.ECDSA_SHA_256, Scheme.PSS),
        (Algorithm.ED25519, Scheme.ECDSA),
    ],
)
def test_a_scheme_without_a_check_of_its_own_is_refused(
    monkeypatch: pytest.MonkeyPatch, algorithm: Algorithm, scheme: Scheme
) -> None:
    """A row that is added to the table alone: its signatures are not checked as those of another scheme."""
    kind = min(FACTS[algorithm].key_kinds)
    monkeypatch.setitem(FACTS, algorithm, replace(FACTS[algorithm], scheme=scheme))
    with pytest.raises(AlgorithmUnknown, match=scheme):
        PublicKey.from_spki(spki(private(kind)))
