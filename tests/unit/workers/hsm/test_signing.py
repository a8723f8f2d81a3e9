"""Only what fits reaches the module, and only what verifies leaves it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import pkcs11.exceptions
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    NoDigestInfo,
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from pkcs11 import Mechanism

from queueing.errors import AlgorithmMismatch, DigestLength, SigningError
from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, KeyFamily, KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import generate_key, spki_of
from workers.hsm.faults import Action, HsmFailure
from workers.hsm.mechanisms import PssParameter
from workers.hsm.signing import Signer, Timing

Private: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PAIRS = [(kind, algorithm) for algorithm, facts in FACTS.items() for kind in sorted(facts.key_kinds)]
P256, ECDSA = KeyKind.P256, Algorithm.ECDSA_SHA_256
PSS_HASH = {
    Mechanism.SHA256: hashes.SHA256(),
    Mechanism.SHA384: hashes.SHA384(),
    Mechanism.SHA512: hashes.SHA512(),
}
EC_KINDS = [kind for kind, facts in KEY_KINDS.items() if facts.family is KeyFamily.EC]
EC_HASH = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}


@cache
def private(kind: KeyKind) -> Private:
    return generate_key(kind)


@cache
def public(kind: KeyKind) -> PublicKey:
    der = spki_of(private(kind))
    return PublicKey.from_spki(der)


class FakeKey:
    """A module's key, as C_Sign answers: counts what reaches it."""

    def __init__(self, key: Private) -> None:
        self._key = key
        self.calls: list[tuple[Mechanism, bytes]] = []
        self.fails: Exception | None = None
        self.change: Callable[[bytes], bytes] = bytes

    def sign(
        self,
        data: bytes,
        /,
        *,
        mechanism: Mechanism,
        mechanism_param: PssParameter | None,
        buffer_size: int,
    ) -> bytes:
        self.calls.append((mechanism, data))
        if self.fails is not None:
            raise self.fails
        signature = self.change(self._raw(data, mechanism, mechanism_param))
        assert len(signature) <= buffer_size
        return signature

    def _raw(self, data: bytes, mechanism: Mechanism, parameter: PssParameter | None) -> bytes:
        key = self._key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            assert mechanism is Mechanism.EDDSA
            return key.sign(data)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            assert mechanism is Mechanism.ECDSA
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(Prehashed(EC_HASH[len(data)]))))
            half = (key.key_size + 7) // 8
            return r.to_bytes(half, "big") + s.to_bytes(half, "big")
        if mechanism is Mechanism.RSA_PKCS:
            return key.sign(data, padding.PKCS1v15(), NoDigestInfo())
        assert parameter is not None
        hash_ = PSS_HASH[parameter[0]]
        return key.sign(data, padding.PSS(padding.MGF1(hash_), parameter[2]), Prehashed(hash_))


def signer(kind: KeyKind) -> tuple[Signer, FakeKey]:
    key = FakeKey(private(kind))
    return Signer(key, public(kind)), key


@pytest.mark.parametrize("kind, algorithm", PAIRS)
def test_each_algorithm_gives_the_final_encoding_in_one_call(kind: KeyKind, algorithm: Algorithm) -> None:
    sign, key = signer(kind)
    for length in FACTS[algorithm].digest_lengths:
        digest = bytes(range(length))
        public(kind).verify(algorithm, digest, sign.sign(algorithm, digest))
    assert len(key.calls) == len(FACTS[algorithm].digest_lengths)


@pytest.mark.parametrize("kind, algorithm", PAIRS)
@pytest.mark.parametrize("length", [0, 1, 20, 31, 33, 47, 63, 65, 512, 100_000])
def test_a_digest_of_the_wrong_length_never_reaches_the_module(
    kind: KeyKind, algorithm: Algorithm, length: int
) -> None:
    sign, key = signer(kind)
    with pytest.raises(DigestLength):
        sign.sign(algorithm, bytes(length))
    assert key.calls == []


@pytest.mark.parametrize("digest", ["0" * 32, bytearray(32), memoryview(bytes(32)), None, [0] * 32])
def test_values_other_than_bytes_never_reach_the_module(digest: object) -> None:
    sign, key = signer(P256)
    with pytest.raises(DigestLength):
        sign.sign(ECDSA, digest)  # type: ignore[arg-type]
    assert key.calls == []


@pytest.mark.parametrize("kind", KeyKind)
def test_an_algorithm_that_does_not_fit_the_key_never_reaches_the_module(kind: KeyKind) -> None:
    sign, key = signer(kind)
    for algorithm in set(Algorithm) - public(kind).algorithms:
        with pytest.raises(AlgorithmMismatch):
            sign.sign(algorithm, bytes(max(FACTS[algorithm].digest_lengths)))
        with pytest.raises(AlgorithmMismatch):
            sign.sign_run(algorithm, [bytes(32)], [])
    assert key.calls == []


def test_a_handle_that_became_another_key_releases_nothing() -> None:
    stale = FakeKey(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(HsmFailure, match="does not verify") as caught:
        Signer(stale, public(P256)).sign(ECDSA, bytes(32))
    assert caught.value.action is Action.REPLACE_LANE
    assert len(stale.calls) == 1


def strip_zeros(raw: bytes) -> bytes:
    """Signature as aws-kms-pkcs11 once gave it: r and s without their leading zeros."""
    half = len(raw) // 2
    return raw[:half].lstrip(b"\0") + raw[half:].lstrip(b"\0")


def der(raw: bytes) -> bytes:
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def der_without_sign_bytes(raw: bytes) -> bytes:
    """DER whose integers lack the zero before a set top bit."""
    half = len(raw) // 2
    r, s = raw[:half].lstrip(b"\0"), raw[half:].lstrip(b"\0")
    body = bytes((2, len(r))) + r + bytes((2, len(s))) + s
    head = bytes((0x30, len(body))) if len(body) < 0x80 else bytes((0x30, 0x81, len(body)))
    return head + body


@pytest.mark.parametrize("change", [strip_zeros, der, der_without_sign_bytes])
@pytest.mark.parametrize("kind", EC_KINDS)
def test_an_ecdsa_signature_in_another_form_is_released_in_the_final_encoding(
    kind: KeyKind, change: Callable[[bytes], bytes]
) -> None:
    """P-521: three in four signatures have a zero at the front of r or s."""
    sign, key = signer(kind)
    key.change = change
    algorithm = next(iter(public(kind).algorithms))
    digest = bytes(max(FACTS[algorithm].digest_lengths))
    for _ in range(300 if change is strip_zeros and kind is P256 else 20):
        public(kind).verify(algorithm, digest, sign.sign(algorithm, digest))


def test_an_rsa_signature_without_its_leading_zero_is_restored() -> None:
    kind, algorithm = KeyKind.RSA_2048, Algorithm.RSASSA_PSS_SHA_256
    sign, key = signer(kind)
    shortened: list[int] = []

    def lstrip(raw: bytes) -> bytes:
        shortened.append(len(raw) - len(raw.lstrip(b"\0")))
        return raw.lstrip(b"\0")

    key.change = lstrip
    while not any(shortened):  # a salted signature begins with a zero byte once in 256
        signature = sign.sign(algorithm, bytes(32))
        public(kind).verify(algorithm, bytes(32), signature)
        assert len(signature) == 256


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\0", lambda raw: b""])
def test_a_signature_of_the_wrong_length_releases_nothing(change: Callable[[bytes], bytes]) -> None:
    sign, key = signer(P256)
    key.change = change
    with pytest.raises(HsmFailure, match="wrong length") as caught:
        sign.sign(ECDSA, bytes(32))
    assert caught.value.action is Action.REPLACE_LANE


def test_a_changed_signature_releases_nothing() -> None:
    sign, key = signer(P256)
    key.change = lambda raw: bytes([raw[0] ^ 1]) + raw[1:]
    with pytest.raises(HsmFailure, match="does not verify"):
        sign.sign(ECDSA, bytes(32))


def test_verifying_can_be_left_out_for_measuring() -> None:
    other = FakeKey(ec.generate_private_key(ec.SECP256R1()))
    assert Signer(other, public(P256), verify=False).sign(ECDSA, bytes(32))


@pytest.mark.parametrize(
    "error, name",
    [
        (pkcs11.exceptions.SessionHandleInvalid(), "CKR_SESSION_HANDLE_INVALID"),
        (pkcs11.exceptions.PKCS11Error("Unmapped error code 0x68"), "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        (ValueError("surprise"), "UNEXPECTED"),
    ],
)
def test_a_failing_module_is_a_failure_with_its_cause(error: Exception, name: str) -> None:
    sign, key = signer(P256)
    key.fails = error
    with pytest.raises(HsmFailure) as caught:
        sign.sign(ECDSA, bytes(32))
    assert caught.value.code_name == name
    assert caught.value.__cause__ is error


def test_one_bad_digest_in_a_run_fails_alone_and_order_is_kept() -> None:
    sign, key = signer(P256)
    digests = [bytes([n]) * 32 for n in range(4)]
    digests.insert(2, bytes(31))
    out: list[bytes | SigningError] = []
    sign.sign_run(ECDSA, digests, out)
    assert isinstance(out.pop(2), DigestLength)
    del digests[2]
    for digest, signature in zip(digests, out, strict=True):
        assert isinstance(signature, bytes)
        public(P256).verify(ECDSA, digest, signature)
    assert len(key.calls) == 4


def test_an_empty_run_calls_nothing() -> None:
    sign, key = signer(P256)
    out: list[bytes | SigningError] = []
    sign.sign_run(ECDSA, [], out)
    assert out == []
    assert key.calls == []


def test_a_permanent_refusal_by_the_module_fails_its_digest_alone() -> None:
    sign, key = signer(P256)
    key.fails = pkcs11.exceptions.DataLenRange()
    out: list[bytes | SigningError] = []
    sign.sign_run(ECDSA, [bytes(32), bytes(32)], out)
    assert [type(item) for item in out] == [DigestLength, DigestLength]


def test_a_run_ends_where_the_session_is_in_doubt_and_keeps_what_was_done() -> None:
    sign, key = signer(P256)

    def fail_at_third(raw: bytes) -> bytes:
        if len(key.calls) == 3:
            raise pkcs11.exceptions.DeviceError
        return raw

    key.change = fail_at_third
    digests = [bytes([n]) * 32 for n in range(5)]
    done: list[bytes | SigningError] = []
    with pytest.raises(HsmFailure) as caught:
        sign.sign_run(ECDSA, digests, done)
    assert (caught.value.action, caught.value.code_name) == (Action.DROP_SESSION, "CKR_DEVICE_ERROR")
    assert len(done) == 2
    assert len(key.calls) == 3
    for digest, signature in zip(digests, done, strict=False):
        assert isinstance(signature, bytes)
        public(P256).verify(ECDSA, digest, signature)


def test_each_call_of_the_module_is_counted_also_one_that_fails() -> None:
    """A call that fails may have signed; a digest of a wrong length never reaches the module."""
    spent = Timing()
    key = FakeKey(private(P256))
    signer = Signer(key, public(P256), spent=spent)
    done: list[bytes | SigningError] = []
    signer.sign_run(ECDSA, [b"short", *[bytes(32)] * 2], done)
    key.fails = pkcs11.exceptions.DeviceError()
    with pytest.raises(HsmFailure):
        signer.sign_run(ECDSA, [bytes(32)] * 4, done)
    assert spent.calls == len(key.calls) == 3


def test_what_signing_and_verifying_take_is_added_up() -> None:
    """The times of all signers that share an account; one that does not verify adds no time of verifying."""
    spent = Timing()
    both = Signer(FakeKey(private(P256)), public(P256), spent=spent)
    both.sign(ECDSA, bytes(32))
    first = (spent.sign_s, spent.verify_s)
    assert min(first) > 0
    both.sign(ECDSA, bytes(32))
    assert spent.sign_s > first[0]
    assert spent.verify_s > first[1]
    second = (spent.sign_s, spent.verify_s)
    Signer(FakeKey(private(P256)), public(P256), verify=False, spent=spent).sign(ECDSA, bytes(32))
    assert spent.sign_s > second[0]
    assert spent.verify_s == second[1]
