"""How a module is told to sign with each algorithm: one table, and nothing outside it reaches a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pkcs11 import MGF, KeyType, Mechanism, MechanismFlag

from queueing.protocol.algorithms import FACTS, Algorithm, KeyKind, Scheme
from workers.hsm.encodings import DIGEST_INFO_PREFIX
from workers.hsm.faults import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pkcs11 import Slot

PssParameter: TypeAlias = tuple[Mechanism, MGF, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismRow:
    """The mechanism, its parameter, and what stands before the digest in the data to be signed."""

    mechanism: Mechanism
    parameter: PssParameter | None = None
    prefix: bytes = b""


_PSS: Final[dict[str, PssParameter]] = {
    # CK_RSA_PKCS_PSS_PARAMS: hash, MGF1 with the same hash, salt length in bytes = hash length (as AWS KMS)
    "sha256": (Mechanism.SHA256, MGF.SHA256, 32),
    "sha384": (Mechanism.SHA384, MGF.SHA384, 48),
    "sha512": (Mechanism.SHA512, MGF.SHA512, 64),
}


def _row(algorithm: Algorithm) -> MechanismRow:
    facts = FACTS[algorithm]
    hash_name = facts.hash_name or ""
    match facts.scheme:
        case Scheme.PKCS1V15:  # CKM_RSA_PKCS pads what it is given: the DigestInfo (RFC 8017 9.2)
            return MechanismRow(mechanism=Mechanism.RSA_PKCS, prefix=DIGEST_INFO_PREFIX[hash_name])
        case Scheme.PSS:
            return MechanismRow(mechanism=Mechanism.RSA_PKCS_PSS, parameter=_PSS[hash_name])
        case Scheme.ECDSA:
            return MechanismRow(mechanism=Mechanism.ECDSA)
        case Scheme.EDDSA:  # pure Ed25519 (RFC 8032 5.1): the digest is the message
            return MechanismRow(mechanism=Mechanism.EDDSA)


MECHANISMS: Final[dict[Algorithm, MechanismRow]] = {algorithm: _row(algorithm) for algorithm in Algorithm}


def unable_to_sign(slot: Slot, algorithms: Sequence[Algorithm]) -> tuple[Algorithm, ...]:
    """Those of the algorithms whose mechanism the token does not have, or not for signing. A call for each, and one."""
    with translated():
        present = slot.get_mechanisms()
        return tuple(
            algorithm
            for algorithm in algorithms
            if (mechanism := MECHANISMS[algorithm].mechanism) not in present
            or not slot.get_mechanism_info(mechanism).flags & MechanismFlag.SIGN
        )


SIGNATURE_BYTES: Final[dict[KeyKind, int]] = {
    # what C_Sign returns: RSA the modulus' length; ECDSA r || s, each as long as the order; EdDSA R || S
    KeyKind.RSA_2048: 256,
    KeyKind.RSA_3072: 384,
    KeyKind.RSA_4096: 512,
    KeyKind.P256: 64,
    KeyKind.P384: 96,
    KeyKind.P521: 132,
    KeyKind.ED25519: 64,
}

KEY_TYPE: Final[dict[KeyKind, KeyType]] = {
    KeyKind.RSA_2048: KeyType.RSA,
    KeyKind.RSA_3072: KeyType.RSA,
    KeyKind.RSA_4096: KeyType.RSA,
    KeyKind.P256: KeyType.EC,
    KeyKind.P384: KeyType.EC,
    KeyKind.P521: KeyType.EC,
    KeyKind.ED25519: KeyType.EC_EDWARDS,
}

RSA_BITS: Final[dict[KeyKind, int]] = {
    KeyKind.RSA_2048: 2048,
    KeyKind.RSA_3072: 3072,
    KeyKind.RSA_4096: 4096,
}
