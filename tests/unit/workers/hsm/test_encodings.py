"""Encodings between PKCS#11 and X.509 are byte for byte those of other implementations."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.der import octets
from queueing.protocol.public_keys import PublicKey
from tests.support.keys import rsa_key
from workers.hsm.encodings import (
    CURVE_OF,
    CURVES,
    bare_point,
    bit_string,
    curve_for_params,
    curve_point,
    ec_spki,
    ecdsa_der,
    rsa_numbers,
    rsa_spki,
    why_no_spki,
)

HALVES = [32, 48, 66]
EC = {KeyKind.P256: ec.SECP256R1(), KeyKind.P384: ec.SECP384R1(), KeyKind.P521: ec.SECP521R1()}


def raw_of(r: int, s: int, half: int) -> bytes:
    return r.to_bytes(half, "big") + s.to_bytes(half, "big")


@pytest.mark.parametrize("half", HALVES)
def test_a_signature_is_encoded_as_cryptography_encodes_it(half: int) -> None:
    """Random values of random lengths: with and without leading zeros, with and without the top bit."""
    rng = random.Random(half)
    top = 521 if half == 66 else half * 8
    for _ in range(5_000):
        r, s = (rng.getrandbits(rng.randint(1, top)) or 1 for _ in range(2))
        assert ecdsa_der(raw_of(r, s, half)) == encode_dss_signature(r, s)


@given(data=st.data(), half=st.sampled_from(HALVES))
def test_any_signature_comes_back_from_its_encoding(data: st.DataObject, half: int) -> None:
    top = (1 << 521) - 1 if half == 66 else (1 << half * 8) - 1
    r = data.draw(st.integers(0, top))
    s = data.draw(st.integers(0, top))
    assert decode_dss_signature(ecdsa_der(raw_of(r, s, half))) == (r, s)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("r, s", [(0, 0), (1, 127), (128, 255), (256, 0x7FFF), (0x8000, 0xFFFF)])
def test_the_smallest_integers_are_minimal(half: int, r: int, s: int) -> None:
    assert ecdsa_der(raw_of(r, s, half)) == encode_dss_signature(r, s)


def test_the_longest_p521_signature_takes_the_long_form_of_the_length() -> None:
    top = (1 << 521) - 1
    der = ecdsa_der(raw_of(top, top, 66))
    assert der[:3] == bytes([0x30, 0x81, 136])
    assert der == encode_dss_signature(top, top)


@pytest.mark.parametrize(
    "kind, params",
    [
        (KeyKind.P256, ["06082a8648ce3d030107"]),
        (KeyKind.P384, ["06052b81040022"]),
        (KeyKind.P521, ["06052b81040023"]),
        (KeyKind.ED25519, ["130c656477617264733235353139", "06032b6570", "06092b06010401da470f01"]),
    ],
)
def test_curves_are_named_as_in_their_standards(kind: KeyKind, params: list[str]) -> None:
    """RFC 5480 2.1.1.1, PKCS#11 3.1 6.3.5, RFC 8410 3; the first value is the one that is written."""
    assert [each.hex() for each in CURVE_OF[kind].params] == params


@pytest.mark.parametrize("kind", EC)
def test_an_ec_key_goes_to_pkcs11_and_back(kind: KeyKind) -> None:
    public = ec.generate_private_key(EC[kind]).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = curve_point(der)
    curve = CURVE_OF[kind]
    assert len(point) == curve.point_bytes
    compressed = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert len(compressed) == curve.compressed_bytes
    for form in (point, compressed):
        for shown in (form, octets(form), bit_string(form)):
            assert bare_point(curve, shown) == point
            assert ec_spki(curve.params[0], shown) == der
        assert bare_point(curve, form[:-1]) is None
    assert PublicKey.from_spki(der).kind is kind


@pytest.mark.parametrize("params", CURVE_OF[KeyKind.ED25519].params)
def test_an_ed25519_key_is_read_however_its_curve_is_named(params: bytes) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = curve_point(der)
    assert ec_spki(params, octets(point)) == der
    assert ec_spki(params, point) == der


def test_a_point_that_begins_like_a_wrapping_is_still_told_apart_by_its_length() -> None:
    curve = CURVE_OF[KeyKind.P256]
    raw = b"\x04\x41" + bytes(63)  # a raw point whose x begins with what could be a length
    assert bare_point(curve, raw) == raw
    assert bare_point(curve, octets(raw)) == raw


def test_curves_are_known_by_their_standard_names_only() -> None:
    for curve in CURVES:
        for params in curve.params:
            assert curve_for_params(params) is curve
    for foreign in (b"", b"\x06\x05\x2b\x81\x04\x00\x0a", b"\x30\x00"):  # secp256k1, explicit parameters
        assert curve_for_params(foreign) is None


@pytest.mark.parametrize("point", [b"", b"\x04\x41", bytes(65), b"\x04" + bytes(64), bytes(66), bytes(67)])
def test_a_point_off_the_curve_makes_no_key(point: bytes) -> None:
    assert ec_spki(CURVE_OF[KeyKind.P256].params[0], point) is None


def test_an_rsa_key_goes_to_pkcs11_and_back() -> None:
    public = rsa_key().public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    modulus, exponent = rsa_numbers(der)
    assert (len(modulus), exponent) == (256, b"\x01\x00\x01")
    assert rsa_spki(modulus, exponent) == der
    assert rsa_spki(b"\0" + modulus, b"\0" + exponent) == der


@pytest.mark.parametrize("modulus", [b"", b"\x80" + bytes(126) + b"\x01", b"\x7f" + bytes(254) + b"\x01"])
def test_a_modulus_of_another_size_makes_no_key(modulus: bytes) -> None:
    assert rsa_spki(modulus, b"\x01\x00\x01") is None


def test_an_exponent_that_cannot_be_makes_no_key() -> None:
    assert rsa_spki(b"\x80" + bytes(254) + b"\x01", b"") is None


@pytest.mark.parametrize(
    "values, words",
    [
        (
            {"modulus": b"\x80" + bytes(374), "exponent": b"\3"},
            "RSA of 3000 bits, and only RSA of 2048, 3072, 4096",
        ),
        ({"modulus": b"\x80" + bytes(255)}, "its public exponent is not shown"),
        ({"params": b"\x30\x00", "point": b"\4"}, "explicit curve parameters"),
        ({"params": b"\x06\x05\x2b\x81\x04\x00\x0a", "point": b"\4"}, "another curve"),
        ({"params": CURVE_OF[KeyKind.P256].params[0], "point": b"\4"}, "no point of its curve"),
        ({}, "its public key is not in the token exactly once"),
    ],
)
def test_a_key_that_cannot_sign_here_is_told_its_reason(values: dict[str, bytes], words: str) -> None:
    assert words in why_no_spki(**values)
