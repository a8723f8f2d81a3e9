"""Signature algorithms of certificate requests, compared with those that OpenSSL writes."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.protocol import der
from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, KeyFamily, KeyKind, Scheme
from queueing.protocol.public_keys import elliptic_curve
from tests.support.keys import PrivateKey
from workers.pki.schemes import signature_algorithm


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def request_by(key: PrivateKey, algorithm: Algorithm) -> x509.CertificateSigningRequest:
    """A certificate request that OpenSSL's library signed with the algorithm."""
    facts = FACTS[algorithm]
    empty = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if facts.hash_name is None:
        return empty.sign(key, None)
    chosen = getattr(hashes, facts.hash_name.upper())()
    pss = padding.PSS(padding.MGF1(chosen), chosen.digest_size) if facts.scheme is Scheme.PSS else None
    return empty.sign(key, chosen, rsa_padding=pss)


def key_of(kind: KeyKind, rsa_key: rsa.RSAPrivateKey) -> PrivateKey:
    match KEY_KINDS[kind].family:
        case KeyFamily.RSA:
            return rsa_key  # the size says nothing about the algorithm
        case KeyFamily.EC:
            return ec.generate_private_key(elliptic_curve(kind))
        case KeyFamily.EDWARDS:
            return ed25519.Ed25519PrivateKey.generate()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_each_algorithm_has_the_oid_that_openssl_writes(
    algorithm: Algorithm, rsa_key: rsa.RSAPrivateKey
) -> None:
    """The table of algorithms has the OIDs of RFC 4055, 5758 and 8410."""
    facts = FACTS[algorithm]
    request = request_by(key_of(min(facts.key_kinds), rsa_key), algorithm)
    assert facts.signature_oid == request.signature_algorithm_oid.dotted_string


@pytest.mark.parametrize("kind", KeyKind)
def test_each_kind_of_key_has_the_algorithm_identifier_that_openssl_writes(
    kind: KeyKind, rsa_key: rsa.RSAPrivateKey
) -> None:
    """With its parameters: NULL for RSA, none for the others."""
    request = request_by(key_of(kind, rsa_key), KEY_KINDS[kind].default_algorithm)
    _, identifier, _ = der.read(request.public_bytes(Encoding.DER)).fields(der.SEQUENCE, 3)
    assert signature_algorithm(kind) == identifier.encoded
