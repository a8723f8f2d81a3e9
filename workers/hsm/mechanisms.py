"""PKCS#11 mechanisms of the algorithms, and key types of the kinds of key; no others are passed to a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pkcs11 import MGF, KeyType, Mechanism, MechanismFlag
from pkcs11.exceptions import PKCS11Error

from queueing.protocol.algorithms import (
    FACTS,
    KEY_KINDS,
    Algorithm,
    AlgorithmFacts,
    KeyFamily,
    KeyKind,
    Scheme,
)
from queueing.protocol.der import digest_info_prefix
from workers.hsm.faults import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkcs11 import Slot

PssParameter: TypeAlias = tuple[Mechanism, MGF, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismRow:
    """Mechanism, its parameter, and the prefix of the digest in the data to be signed."""

    mechanism: Mechanism
    parameter: PssParameter | None = None
    prefix: bytes = b""


KEY_TYPE: Final[dict[KeyFamily, KeyType]] = {
    KeyFamily.RSA: KeyType.RSA,
    KeyFamily.EC: KeyType.EC,
    KeyFamily.EDWARDS: KeyType.EC_EDWARDS,
}


def key_type(kind: KeyKind) -> KeyType:
    """CKA_KEY_TYPE of a kind of key."""
    return KEY_TYPE[KEY_KINDS[kind].family]


def _pss(facts: AlgorithmFacts) -> PssParameter:
    """CK_RSA_PKCS_PSS_PARAMS: hash, MGF1 with the same hash, salt length in bytes = hash length (as AWS KMS)."""
    (hash_bytes,) = facts.digest_lengths
    name = (facts.hash_name or "").upper()
    return Mechanism[name], MGF[name], hash_bytes


def _row(algorithm: Algorithm) -> MechanismRow:
    facts = FACTS[algorithm]
    hash_name = facts.hash_name or ""
    match facts.scheme:
        case Scheme.PKCS1V15:  # CKM_RSA_PKCS pads what it is given: the DigestInfo (RFC 8017 9.2)
            return MechanismRow(mechanism=Mechanism.RSA_PKCS, prefix=digest_info_prefix(hash_name))
        case Scheme.PSS:
            return MechanismRow(mechanism=Mechanism.RSA_PKCS_PSS, parameter=_pss(facts))
        case Scheme.ECDSA:
            return MechanismRow(mechanism=Mechanism.ECDSA)
        case Scheme.EDDSA:  # pure Ed25519 (RFC 8032 5.1): the digest is the message
            return MechanismRow(mechanism=Mechanism.EDDSA)


MECHANISMS: Final[dict[Algorithm, MechanismRow]] = {algorithm: _row(algorithm) for algorithm in Algorithm}


def raw_mechanisms(family: KeyFamily) -> tuple[Mechanism, ...]:
    """Mechanisms with which keys of a family sign digests, each once."""
    return tuple(
        dict.fromkeys(
            row.mechanism
            for algorithm, row in MECHANISMS.items()
            if any(KEY_KINDS[kind].family is family for kind in FACTS[algorithm].key_kinds)
        )
    )


def has_none_of(slot: Slot, family: KeyFamily) -> tuple[Mechanism, ...]:
    """Mechanisms with which keys of a family sign digests, if the token lists none of them; else an empty tuple. One call."""
    wanted = raw_mechanisms(family)
    with translated():
        present = slot.get_mechanisms()
    return () if any(mechanism in present for mechanism in wanted) else wanted


def unable_to_sign(slot: Slot, algorithms: Sequence[Algorithm]) -> tuple[Algorithm, ...]:
    """Algorithms whose mechanism the token does not have, or not for signing. One call for each, and one more.

    A mechanism that it lists and does not describe counts as one that signs: the first signature will show it.
    """
    with translated():
        present = slot.get_mechanisms()
    return tuple(
        algorithm
        for algorithm in algorithms
        if (mechanism := MECHANISMS[algorithm].mechanism) not in present
        or _is_not_for_signing(slot, mechanism)
    )


def _is_not_for_signing(slot: Slot, mechanism: Mechanism) -> bool:
    try:
        return not slot.get_mechanism_info(mechanism).flags & MechanismFlag.SIGN
    except PKCS11Error:
        return False
