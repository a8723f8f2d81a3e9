"""Each algorithm has exactly one mechanism, and only signing mechanisms without a hash of their own."""

from __future__ import annotations

import pytest
from pkcs11 import MGF, KeyType, Mechanism

from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind, Scheme
from workers.hsm.mechanisms import KEY_TYPE, MECHANISMS, RSA_BITS, SIGNATURE_BYTES

OF_SCHEME = {
    Scheme.PKCS1V15: Mechanism.RSA_PKCS,
    Scheme.PSS: Mechanism.RSA_PKCS_PSS,
    Scheme.ECDSA: Mechanism.ECDSA,
    Scheme.EDDSA: Mechanism.EDDSA,
}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_an_algorithm_uses_the_mechanism_of_its_scheme(algorithm: Algorithm) -> None:
    assert MECHANISMS[algorithm].mechanism is OF_SCHEME[FACTS[algorithm].scheme]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_pss_alone_has_a_parameter_with_one_hash_throughout_and_a_salt_as_long(algorithm: Algorithm) -> None:
    facts, parameter = FACTS[algorithm], MECHANISMS[algorithm].parameter
    if facts.scheme is not Scheme.PSS:
        assert parameter is None
        return
    assert parameter is not None
    assert facts.hash_name is not None
    name = facts.hash_name.upper()
    assert parameter == (Mechanism[name], MGF[name], *facts.digest_lengths)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_pkcs1_alone_has_a_prefix(algorithm: Algorithm) -> None:
    assert bool(MECHANISMS[algorithm].prefix) is (FACTS[algorithm].scheme is Scheme.PKCS1V15)


def test_no_mechanism_signs_raw_rsa() -> None:
    """CKM_RSA_X_509 makes SoftHSM end the process."""
    assert Mechanism.RSA_X_509 not in {row.mechanism for row in MECHANISMS.values()}


def test_the_tables_know_every_kind_of_key() -> None:
    assert set(SIGNATURE_BYTES) == set(KEY_TYPE) == set(KeyKind)
    assert {kind for kind, type_ in KEY_TYPE.items() if type_ is KeyType.RSA} == set(RSA_BITS)
    assert all(SIGNATURE_BYTES[kind] == bits // 8 for kind, bits in RSA_BITS.items())
