"""Mechanisms: exactly one for each algorithm, with its parameter and its prefix."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from pkcs11 import MGF, Mechanism, MechanismFlag, Slot
from pkcs11.exceptions import MechanismInvalid

from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, KeyFamily, KeyKind, Scheme
from workers.hsm.mechanisms import KEY_TYPE, MECHANISMS, key_type, unable_to_sign

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


def test_every_family_of_keys_has_a_key_type() -> None:
    """The type of a kind is that of its family."""
    assert set(KEY_TYPE) == set(KeyFamily)
    assert [key_type(kind) for kind in KeyKind] == [KEY_TYPE[KEY_KINDS[kind].family] for kind in KeyKind]


class UnsureSlot:
    """Slot that lists mechanisms, and fails for the description of one that it lists."""

    def __init__(self, **flags: MechanismFlag | None) -> None:
        self._flags = {Mechanism[name]: flag for name, flag in flags.items()}

    def get_mechanisms(self) -> set[Mechanism]:
        return {*self._flags}

    def get_mechanism_info(self, mechanism: Mechanism) -> SimpleNamespace:
        flags = self._flags[mechanism]
        if flags is None:
            raise MechanismInvalid
        return SimpleNamespace(flags=flags)


def test_a_mechanism_that_a_token_lists_and_does_not_describe_counts_as_one_that_signs() -> None:
    """One odd answer of a module does not keep the doctor from the rest of its token."""
    slot = UnsureSlot(RSA_PKCS=MechanismFlag.DECRYPT, ECDSA=None)
    asked = (Algorithm.ECDSA_SHA_256, Algorithm.RSASSA_PKCS1_V1_5_SHA_256, Algorithm.ED25519)
    assert unable_to_sign(cast("Slot", slot), asked) == asked[1:]
