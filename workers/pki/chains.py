"""Certificate chains, and the checks before one is attached to a key.

Only structure, signatures, dates and names are checked: whether verifiers trust the root is theirs to say (RFC 5280 6.1
has the rules that they apply).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from queueing.protocol.certificates import UNREADABLE

_LEAST_RSA_BITS: Final = 2048  # NIST SP 800-131A rev. 2, table 2
_WEAK_HASHES: Final = frozenset({"md5", "sha1"})
_LONGEST: Final = timedelta(days=460)  # CSBR 6.3.2, from 1 March 2026

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


class ChainInvalid(ValueError):
    """A chain that is not attached: ``problem`` says what and why, ``remedy`` what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


LEAF_FIRST: Final = "Give one PEM file: the certificate of the key first, then that of its issuer, and so on."
"""Remedy for a file that is something else, or has another order."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates, leaf first; at least one."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.certificates[0]

    @property
    def leaf_spki(self) -> bytes:
        """Public key of the leaf (SPKI in DER)."""
        return spki_of(self.leaf)

    @property
    def der(self) -> tuple[bytes, ...]:
        """Every certificate in DER."""
        return tuple(certificate.public_bytes(Encoding.DER) for certificate in self.certificates)

    def pem(self) -> str:
        """The chain as PEM, leaf first."""
        return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in self.certificates)

    @property
    def trust_anchor(self) -> str:
        """Name that verifiers must have as a root (RFC 5280 6.1): the issuer of the last certificate, in the chain or not."""
        return _name(self.certificates[-1].issuer)

    @property
    def has_root(self) -> bool:
        """Whether the last certificate is a root, its own issuer; else that issuer is a root, or an intermediate that is missing."""
        return self.certificates[-1].issuer == self.certificates[-1].subject

    def issuer_address(self) -> str | None:
        """Address of the last certificate's issuer, as that certificate has it (caIssuers, RFC 5280 4.2.2.1)."""
        access = _extension(self.certificates[-1], x509.AuthorityInformationAccess)
        found = (
            each.access_location.value
            for each in access or ()
            if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS
            and isinstance(each.access_location, x509.UniformResourceIdentifier)
        )
        return next(found, None)

    def check(self, now: datetime) -> None:
        """Raise ``ChainInvalid`` unless each certificate is issued by the next one, in force, and strong enough."""
        if len({certificate.public_bytes(Encoding.DER) for certificate in self.certificates}) < len(
            self.certificates
        ):
            raise ChainInvalid("a certificate is in the file twice", "Remove the second copy.")
        for i, certificate in enumerate(self.certificates):
            _check_strength(certificate, i)
        self._check_order()
        for i, certificate in enumerate(self.certificates):
            _check_dates(certificate, i, now)
            if i:
                _check_authority(certificate, i)

    def warnings(self, now: datetime, *, code_signing: bool) -> list[str]:
        """Departures from the rules for code signing certificates, each with its rule; none prevents signing."""
        leaf, found = self.leaf, []
        if leaf.not_valid_before_utc > now:
            found.append(
                f"the certificate is valid only from {_day(leaf.not_valid_before_utc)} (RFC 5280 4.1.2.5): verifiers"
                " refuse signatures until then"
            )
        if code_signing:
            found += self._code_signing_warnings()
        ends = min(certificate.not_valid_after_utc for certificate in self.certificates)
        if ends < leaf.not_valid_after_utc:
            found.append(
                f"an issuer's certificate ends on {_day(ends)}, before the key's (RFC 5280 6.1.3): verifiers without a"
                " time stamp refuse signatures from then on"
            )
        return found

    def _code_signing_warnings(self) -> list[str]:
        leaf, found = self.leaf, []
        if leaf.not_valid_after_utc - leaf.not_valid_before_utc > _LONGEST:
            found.append("the certificate is valid for more than 460 days (CSBR 6.3.2)")
        usages = _extension(leaf, x509.ExtendedKeyUsage)
        if usages is None or ExtendedKeyUsageOID.CODE_SIGNING not in usages:
            found.append(
                "the certificate is not for code signing: codeSigning is not in its EKU (CSBR 7.1.2.3)"
            )
        constraints = _extension(leaf, x509.BasicConstraints)
        if constraints is not None and constraints.ca:
            found.append(
                "the certificate is that of an authority: cA is set in its basic constraints (CSBR 7.1.2.3)"
            )
        usage = _extension(leaf, x509.KeyUsage)
        if usage is not None and not usage.digital_signature:
            found.append(
                "the certificate is not for signatures: digitalSignature is not in its key usage (CSBR 7.1.2.3)"
            )
        return found

    def _check_order(self) -> None:
        certificates = self.certificates
        for i, certificate in enumerate(certificates):
            if i + 1 == len(certificates):
                break
            if certificate.issuer != certificates[i + 1].subject:
                raise self._wrong_order(i)
            try:
                certificate.verify_directly_issued_by(certificates[i + 1])
            except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
                raise ChainInvalid(
                    f"the signature of {_named(certificate, i)} is not by the key of {_named(certificates[i + 1], i + 1)},"
                    " though the names fit",
                    "Get the chain from the authority again: one of the two was changed, or belongs to another authority.",
                ) from None
        _check_self_signature(certificates[-1], len(certificates) - 1)
        if len(certificates) == 1 and certificates[0].issuer != certificates[0].subject:
            raise ChainInvalid(
                f"the certificate of the issuer `{_name(certificates[0].issuer)}` is missing",
                "Append it to the file: verifiers that do not have it could not use the signatures.",
            )

    def _wrong_order(self, i: int) -> ChainInvalid:
        certificate, following = self.certificates[i], self.certificates[i + 1]
        issuers = [
            j for j, other in enumerate(self.certificates) if other.subject == certificate.issuer and j != i
        ]
        if issuers:
            return ChainInvalid(
                f"the chain is in the wrong order: {_named(certificate, i)} is issued by certificate {issuers[0] + 1},"
                f" but certificate {i + 2} follows",
                LEAF_FIRST,
            )
        if following.issuer == certificate.subject:
            return ChainInvalid(
                f"the chain is in the wrong order: {_named(certificate, i)} has issued the one after it",
                LEAF_FIRST,
            )
        return ChainInvalid(
            f"an intermediate certificate is missing: {_named(certificate, i)} is issued by"
            f" `{_name(certificate.issuer)}`, but {_named(following, i + 1)} follows",
            "Get the missing certificate from the authority and put it in between.",
        )


def spki_of(certificate: x509.Certificate) -> bytes:
    """Public key of a certificate (SPKI in DER). Raises ``ChainInvalid`` for a kind of key that is not known."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        raise ChainInvalid(
            f"the public key of `{_name(certificate.subject)}` is of no known kind",
            "Ask the authority for another one.",
        ) from None
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_self_signature(certificate: x509.Certificate, i: int) -> None:
    """Refuse a certificate that names itself as its issuer and is signed by another key."""
    if certificate.issuer != certificate.subject:
        return
    try:
        certificate.verify_directly_issued_by(certificate)
    except InvalidSignature:
        raise ChainInvalid(
            f"{_named(certificate, i)} names itself as its issuer, but is not signed by its own key",
            "Get the chain from the authority again: the certificate was changed, or its issuer is missing.",
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return  # by an algorithm of former times: a root's own signature proves nothing (RFC 5280 6.1)


def _check_strength(certificate: x509.Certificate, i: int) -> None:
    spki_of(certificate)
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise ChainInvalid(
            f"{_named(certificate, i)} has an RSA key of {key.key_size} bits, at least {_LEAST_RSA_BITS} are needed"
            " (NIST SP 800-131A)",
            "Ask the authority for a chain with stronger keys.",
        )
    if certificate.issuer == certificate.subject:
        return  # a root's own signature proves nothing (RFC 5280 6.1)
    try:
        hash_ = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        hash_ = None
    if hash_ is not None and hash_.name in _WEAK_HASHES:
        raise ChainInvalid(
            f"{_named(certificate, i)} is signed with {hash_.name.upper()}, which can be forged (NIST SP 800-131A)",
            "Ask the authority for a chain that is signed with SHA-256 or better.",
        )


def _check_dates(certificate: x509.Certificate, i: int, now: datetime) -> None:
    if certificate.not_valid_after_utc <= now:
        raise ChainInvalid(
            f"{_named(certificate, i)} expired on {_day(certificate.not_valid_after_utc)}",
            "Get the present certificate of this issuer from the authority, and put it in the place of this one."
            if i
            else "Make a new request by `sigmill keys request`, and attach what the authority issues.",
        )


def _check_authority(certificate: x509.Certificate, i: int) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise ChainInvalid(
            f"{_named(certificate, i)} may not issue certificates: it is no authority (RFC 5280 4.2.1.9)",
            "Get the chain from the authority again.",
        )


def _extension(certificate: x509.Certificate, kind: type[ExtensionT]) -> ExtensionT | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None


def _name(name: x509.Name) -> str:
    return f"{name.rfc4514_string():.200}"


def _named(certificate: x509.Certificate, i: int) -> str:
    return f"certificate {i + 1} (`{_name(certificate.subject)}`)"


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
