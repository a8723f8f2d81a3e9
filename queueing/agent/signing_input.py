"""From a mechanism and its input to an algorithm and a digest, and the errors of what Sigmill does not sign.

Tools hash locally, because the token has no mechanism that hashes: CKM_RSA_PKCS takes a DigestInfo (RFC 8017 9.2),
CKM_RSA_PKCS_PSS and CKM_ECDSA take the digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from queueing.agent.cryptoki import Mechanism
from queueing.agent.rpc.fields import FieldReader, Malformed
from queueing.errors import AlgorithmMismatch, AlgorithmUnknown, DigestLength
from queueing.protocol.algorithms import FACTS, KEY_KINDS, Algorithm, KeyFamily, KeyKind, Scheme
from queueing.protocol.der import digest_info_prefix

_HASHES: Final[dict[int, str]] = {
    Mechanism.SHA256: "sha256",
    Mechanism.SHA384: "sha384",
    Mechanism.SHA512: "sha512",
}
_MGF1: Final[dict[str, int]] = {"sha256": 2, "sha384": 3, "sha512": 4}
"""CKG_MGF1_SHA256, CKG_MGF1_SHA384, CKG_MGF1_SHA512."""

_FAMILIES: Final[dict[Mechanism, KeyFamily]] = {
    Mechanism.RSA_PKCS: KeyFamily.RSA,
    Mechanism.RSA_PKCS_PSS: KeyFamily.RSA,
    Mechanism.ECDSA: KeyFamily.EC,
}
_SCHEMES: Final[dict[Scheme, Mechanism]] = {
    Scheme.PKCS1V15: Mechanism.RSA_PKCS,
    Scheme.PSS: Mechanism.RSA_PKCS_PSS,
    Scheme.ECDSA: Mechanism.ECDSA,
}

_CHOOSE_HASH: Final = (
    "Tell the tool to hash with SHA-256, SHA-384 or SHA-512 (-h sha256, -md sha256, -digestalg SHA-256)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PssParameters:
    """CK_RSA_PKCS_PSS_PARAMS, as numbers: hash mechanism, mask generation function, length of the salt."""

    hash_mechanism: int
    mgf: int
    salt_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanismUse:
    """A mechanism as C_SignInit names it; ``pss`` only for CKM_RSA_PKCS_PSS."""

    mechanism: Mechanism
    pss: PssParameters | None = None

    def fits(self, kind: KeyKind) -> bool:
        """Whether a key of this kind signs with the mechanism."""
        return KEY_KINDS[kind].family is _FAMILIES[self.mechanism]

    def signing_input(self, kind: KeyKind, data: bytes) -> tuple[Algorithm, bytes]:
        """Algorithm and digest that C_Sign of ``data`` asks for.

        Raises ``AlgorithmUnknown``, ``AlgorithmMismatch`` or ``DigestLength``; all are final, and their hints name the
        options of tools.
        """
        match self.mechanism:
            case Mechanism.RSA_PKCS:
                return _pkcs1(data)
            case Mechanism.RSA_PKCS_PSS:
                return _pss(self.pss, data)
            case Mechanism.ECDSA:
                return _ecdsa(kind, data)
            case _:
                raise AlgorithmUnknown(f"the token signs nothing with {self.mechanism.name}")


def mechanism_for(algorithm: Algorithm) -> Mechanism | None:
    """Mechanism by which a tool asks for the algorithm; None where p11-kit carries none (Ed25519)."""
    return _SCHEMES.get(FACTS[algorithm].scheme)


def read_mechanism(number: int, reader: FieldReader, after_bytes: int) -> MechanismUse | None:
    """The mechanism of this number with its parameters; None for one that the token does not have.

    ``reader`` is behind the number; the parameters end ``after_bytes`` before the end of the message.

    Parameters have no length of their own. Without any, versions before 0.26 write the length of NULL and later ones nothing.
    Raises ``Malformed``.
    """
    if reader.left_bytes < after_bytes:
        raise Malformed
    raw_parameters = reader.take(reader.left_bytes - after_bytes)
    if number not in _FAMILIES:
        return None
    mechanism = Mechanism(number)
    if mechanism is not Mechanism.RSA_PKCS_PSS:
        return MechanismUse(mechanism=mechanism)
    return MechanismUse(mechanism=mechanism, pss=_pss_parameters(raw_parameters))


def _pss_parameters(raw: bytes) -> PssParameters:
    """Three CK_ULONG; from p11-kit 0.26 after a byte that says whether they are there."""
    reader = FieldReader(raw)
    if reader.left_bytes % 8 == 1 and not reader.byte():
        raise Malformed
    found = PssParameters(hash_mechanism=reader.ulong(), mgf=reader.ulong(), salt_bytes=reader.ulong())
    reader.end()
    return found


_PKCS1: Final[dict[bytes, Algorithm]] = {
    digest_info_prefix(facts.hash_name): algorithm
    for algorithm, facts in FACTS.items()
    if facts.scheme is Scheme.PKCS1V15 and facts.hash_name is not None
}
_PSS: Final[dict[str, Algorithm]] = {
    facts.hash_name: algorithm
    for algorithm, facts in FACTS.items()
    if facts.scheme is Scheme.PSS and facts.hash_name is not None
}
_ECDSA: Final[dict[KeyKind, Algorithm]] = {
    kind: algorithm
    for algorithm, facts in FACTS.items()
    if facts.scheme is Scheme.ECDSA
    for kind in facts.key_kinds
}


def _pkcs1(data: bytes) -> tuple[Algorithm, bytes]:
    for head, algorithm in _PKCS1.items():
        if data.startswith(head) and len(data) - len(head) in FACTS[algorithm].digest_lengths:
            return algorithm, data[len(head) :]
    raise AlgorithmUnknown(
        "the tool asked for a PKCS #1 signature of something else than a SHA-256, SHA-384 or SHA-512 digest",
        hint=_CHOOSE_HASH,
    )


def _pss(parameters: PssParameters | None, data: bytes) -> tuple[Algorithm, bytes]:
    hash_name = None if parameters is None else _HASHES.get(parameters.hash_mechanism)
    if parameters is None or hash_name is None:
        raise AlgorithmUnknown(
            "the tool asked for a PSS signature with another hash than SHA-256, SHA-384 or SHA-512",
            hint=_CHOOSE_HASH,
        )
    algorithm = _PSS[hash_name]
    (digest_bytes,) = FACTS[algorithm].digest_lengths
    if parameters.mgf != _MGF1[hash_name] or parameters.salt_bytes != digest_bytes:
        raise AlgorithmMismatch(
            f"the tool asked for a PSS signature with a salt of {parameters.salt_bytes} bytes or a mask of another hash;"
            f" {algorithm} has a salt of {digest_bytes} bytes and MGF1 with its own hash",
            hint="Tell the tool so: for OpenSSL -sigopt rsa_pss_saltlen:digest.",
        )
    return algorithm, _of_length(algorithm, data)


def _ecdsa(kind: KeyKind, data: bytes) -> tuple[Algorithm, bytes]:
    algorithm = _ECDSA[kind]
    return algorithm, _of_length(algorithm, data)


def _of_length(algorithm: Algorithm, digest: bytes) -> bytes:
    facts = FACTS[algorithm]
    if len(digest) not in facts.digest_lengths:
        wanted = next(iter(facts.digest_lengths))
        name = (facts.hash_name or "").replace("sha", "SHA-")
        raise DigestLength(
            f"the tool sent {len(digest)} bytes; {algorithm} signs a {name} digest of {wanted} bytes",
            hint=f"Tell the tool to hash with {name}, and to send the digest.",
        )
    return digest
