"""Keys of providers: one that cannot be used is left out, and so are two keys with one name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.issuer.provider import jwk
from tests.support.keys import rsa_key
from workers.issuer.identity.provider_keys import KeysFile, encode_keys, read_keys, usable_keys

RSA = rsa_key()
GOOD = jwk(RSA, "good")


def test_keys_of_each_kind_are_read() -> None:
    """RSA, three curves and Ed25519, each for its own algorithms only."""
    keys = [
        GOOD,
        jwk(ec.generate_private_key(ec.SECP256R1()), "p256", "ES256"),
        jwk(ec.generate_private_key(ec.SECP384R1()), "p384", "ES384"),
        jwk(ec.generate_private_key(ec.SECP521R1()), "p521", "ES512"),
        jwk(ed25519.Ed25519PrivateKey.generate(), "ed", "EdDSA"),
    ]
    usable, repeated = usable_keys(keys)
    assert not repeated
    fitting = {
        kid: [a for a in ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA") if key.fits(a)]
        for kid, key in usable.items()
    }
    assert fitting == {
        "good": ["RS256"],
        "p256": ["ES256"],
        "p384": ["ES384"],
        "p521": ["ES512"],
        "ed": ["EdDSA"],
    }


def test_a_key_without_an_algorithm_is_for_all_of_its_kind() -> None:
    """Many providers give none."""
    usable, _ = usable_keys([{k: v for k, v in GOOD.items() if k != "alg"}])
    assert usable["good"].fits("RS256")
    assert usable["good"].fits("PS512")
    assert not usable["good"].fits("ES256")


def test_the_keys_for_tokens_in_a_spiffe_bundle_are_read() -> None:
    """Those for certificates, which are in it too, verify none."""
    spiffe = {"kty": GOOD["kty"], "n": GOOD["n"], "e": GOOD["e"]}
    tokens, certificates = (
        spiffe | {"kid": "a", "use": "jwt-svid"},
        spiffe | {"kid": "b", "use": "x509-svid"},
    )
    usable, _ = usable_keys([tokens, certificates])
    assert list(usable) == ["a"]


@pytest.mark.parametrize(
    "change",
    [
        {"kid": None},
        {"kid": 7},
        {"kid": ""},
        {"kid": "x" * 1000},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "oct"},
        {"kty": None},
        {"kty": []},
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": []},
        {"d": "AQAB"},
        {"n": "AQAB"},
        {"n": "A" * 1_000_000},
        {"n": 7},
        {"e": None},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": [], "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": {}, "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": [], "x": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
    ],
)
def test_a_key_that_cannot_be_used_is_left_out(change: dict[str, Any]) -> None:
    """The others verify."""
    bad = {k: v for k, v in (GOOD | {"kid": "bad"} | change).items() if v is not None}
    usable, _ = usable_keys([bad, GOOD])
    assert set(usable) == {"good"}


def test_a_short_key_is_left_out() -> None:
    """RSA below 2048 bits is not for signatures (RFC 7518 3.3)."""
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505  # the point
    assert not usable_keys([jwk(small, "small")])[0]


def test_two_keys_with_one_name_are_left_out() -> None:
    """The issuer does not guess which of them signed."""
    usable, repeated = usable_keys([GOOD, jwk(rsa_key(1), "good")])
    assert not usable
    assert repeated == {"good"}


def test_a_file_is_read_as_it_was_written() -> None:
    """The time of the fetch and the keys come back."""
    raw = encode_keys(KeysFile(issuer_url="https://token.example", fetched_ms=7, keys=(GOOD,)))
    keys = read_keys(raw)
    assert (keys.issuer_url, keys.fetched_ms, set(keys.by_kid)) == ("https://token.example", 7, {"good"})


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, json.dumps({"keys": [GOOD]}).encode(), b'{"issuer_url": 1}'],
)
def test_another_file_is_refused(raw: bytes) -> None:
    """``ValueError``, whatever it has."""
    with pytest.raises(ValueError, match="is no file of keys"):
        read_keys(raw)
