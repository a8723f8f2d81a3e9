"""A key of many small primes is an ordinary RSA-3072 key for those who verify."""

from __future__ import annotations

import math

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from bench.hsm.cheap_key import EXPONENT, PRIMES, CheapKey, _is_prime
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey


@pytest.fixture(scope="module")
def key() -> CheapKey:
    return CheapKey.generate()


def test_the_public_key_is_rsa_3072(key: CheapKey) -> None:
    """As a tenant's file has it; the modulus is the product of 96 different primes of 32 bits."""
    assert PublicKey.from_spki(key.spki()).kind is KeyKind.RSA_3072
    assert len(set(key.primes)) == PRIMES
    assert {prime.bit_length() for prime in key.primes} == {32}
    assert key.public.public_numbers().n == math.prod(key.primes)


def test_its_two_factors_sign_as_those_of_any_key(key: CheapKey) -> None:
    """So that a token takes it: OpenSSL signs with the halves in the place of primes."""
    private, public = (
        load_der_private_key(key.pkcs1()[0], None, unsafe_skip_rsa_key_validation=True),
        load_der_public_key(key.spki()),
    )
    assert isinstance(private, rsa.RSAPrivateKey)
    assert isinstance(public, rsa.RSAPublicKey)
    signature = private.sign(b"content", padding.PKCS1v15(), hashes.SHA256())
    public.verify(signature, b"content", padding.PKCS1v15(), hashes.SHA256())


def test_each_prime_has_its_private_exponent(key: CheapKey) -> None:
    """The file of the simulated HSM: the power of the exponent undoes that of 65537, modulo each prime."""
    lines = [tuple(map(int, line.split())) for line in key.text().splitlines()]
    assert [prime for prime, _ in lines] == list(key.primes)
    assert all(pow(pow(12345, exponent, prime), EXPONENT, prime) == 12345 for prime, exponent in lines)


def test_composite_numbers_are_not_taken_for_primes() -> None:
    """Strong pseudoprimes of one or two of the witnesses, of which several are less than 2^32, and products of two primes."""
    assert [_is_prime(number) for number in (2, 7, 61, 65537, 4294967291)] == [True] * 5
    assert not any(_is_prime(number) for number in (2047, 25, 703, 3215031751, 1373653, 65521 * 65519))
