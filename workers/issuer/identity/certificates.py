"""Identity by the certificate of a TLS client: its chain to an authority of ours, and its one name.

The issuer's front has terminated TLS, so that the caller has the certificate's private key is the front's word; everything else
is verified here. A certificate is an identity as a token is: its claims are ``spiffe_id`` and ``dns``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from queueing.protocol.certificates import UNREADABLE, read_certificate
from workers.issuer.identity.refusals import Outcome, TokenRefused
from workers.issuer.identity.signed_token import TokenLife, VerifiedIdentity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workers.issuer.identity.token_json import Json

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
"""A certificate has 1 to 2 kB; the front gives one, and intermediates stand in the authority's file."""

URL_PREFIX: Final = "x509:"
"""``issuer_url`` of identities by the certificates of [certificates.NAME] is ``x509:NAME``."""

_MAX_SPIFFE_ID: Final = 2048
"""SPIFFE-ID 2.3."""

_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+\Z")
"""SPIFFE-ID 2.2. No per cent sign: `%2F` would be a slash that no pattern sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Authority of client certificates: its roots and intermediates.

    ``trust_domain``: the SPIFFE trust domain that it may speak for; '' where its certificates have DNS names.
    """

    name: str
    roots: tuple[x509.Certificate, ...]
    trust_domain: str = ""


@dataclass(frozen=True, slots=True)
class SharedAuthority:
    """Authority whose certificates would be identities of two names: of ``first`` or ``second``, by their order."""

    first: str
    second: str
    subject: str


def shared_authority(authorities: Iterable[Authority]) -> SharedAuthority | None:
    """The first root or intermediate that two of the authorities trust, by its name and key; None without one."""
    seen: dict[tuple[bytes, bytes], str] = {}
    for authority in authorities:
        for certificate in _trusted(authority.roots):
            try:
                spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            except UNREADABLE:  # of a kind that verifies nothing
                continue
            first = seen.setdefault((certificate.subject.public_bytes(), spki), authority.name)
            if first != authority.name:
                return SharedAuthority(first, authority.name, certificate.subject.rfc4514_string())
    return None


def _trusted(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The roots, and the intermediates that lead to one of them by their names."""
    found = [each for each in certificates if each.issuer == each.subject]
    for trusted in found:  # grows
        found += [each for each in certificates if each.issuer == trusted.subject and each not in found]
    return found


class CertificateVerifier:
    """Verifier of client certificates by the configured authorities."""

    def __init__(self, authorities: Mapping[str, Authority]) -> None:
        self._authorities = authorities

    def verify(self, der: bytes, now_s: float) -> VerifiedIdentity:
        """The identity of the certificate. Raises ``TokenRefused``. Costs a signature for each certificate of the chain."""
        if not 0 < len(der) <= MAX_CERTIFICATE_BYTES:
            raise _refused("the certificate is too long")
        try:
            certificate = read_certificate(der)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(x509.UniformResourceIdentifier)
            hosts = names.get_values_for_type(x509.DNSName)
        except (ValueError, x509.ExtensionNotFound):
            raise _refused("the certificate cannot be read, or has no subjectAltName") from None
        for authority in self._authorities.values():
            if _is_of(certificate, authority, now_s):
                return _identity(der, certificate, authority, _claims(authority, uris, hosts))
        raise _refused("no authority of the issuer vouches for the certificate now, as that of a TLS client")


def _identity(
    der: bytes, certificate: x509.Certificate, authority: Authority, claims: dict[str, Json]
) -> VerifiedIdentity:
    (subject,) = claims.values()
    return VerifiedIdentity(
        provider=authority.name,
        issuer_url=f"{URL_PREFIX}{authority.name}",
        audience=None,
        subject=str(subject),
        claims=claims,
        evidence_sha256=hashlib.sha256(der).digest(),
        use_id=None,
        life=TokenLife(
            certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        ),
    )


def _is_of(certificate: x509.Certificate, authority: Authority, now_s: float) -> bool:
    own = [root for root in authority.roots if root.issuer == root.subject]
    others = [root for root in authority.roots if root.issuer != root.subject]
    verifier = (
        PolicyBuilder().store(Store(own)).time(datetime.fromtimestamp(now_s, UTC)).build_client_verifier()
    )
    try:
        verifier.verify(certificate, others)
    except VerificationError:
        return False
    return True


def _claims(authority: Authority, uris: list[str], hosts: list[str]) -> dict[str, Json]:
    """The one name as a claim: a certificate of several names would be several identities at once."""
    if authority.trust_domain:
        if len(uris) != 1:
            raise _refused(f"the certificate has {len(uris)} URIs: a SPIFFE identity is exactly one")
        return {"spiffe_id": _spiffe_id(uris[0], authority.trust_domain)}
    if len(hosts) != 1:
        raise _refused(f"the certificate has {len(hosts)} DNS names: an identity is exactly one")
    if "*" in hosts[0]:
        raise _refused("the certificate's DNS name is a pattern of many: an identity is exactly one")
    return {"dns": hosts[0]}


def _spiffe_id(uri: str, trust_domain: str) -> str:
    """The SPIFFE ID (SPIFFE-ID 2), of this trust domain."""
    try:
        path = urlsplit(uri).path
    except ValueError:
        path = ""
    canonical = f"spiffe://{trust_domain}{path}"
    if len(uri) > _MAX_SPIFFE_ID or uri != canonical or not path.startswith("/"):
        raise _refused("the certificate's URI is no SPIFFE ID of the authority's trust domain")
    if any(segment in {".", ".."} or not _SEGMENT.match(segment) for segment in path[1:].split("/")):
        raise _refused(
            "the certificate's SPIFFE ID has a path segment that is empty or relative, or has other characters than a-z, A-Z, 0-9, `.`, `_`, `-`"
        )
    return uri


def _refused(message: str) -> TokenRefused:
    return TokenRefused(
        Outcome.CERTIFICATE,
        message,
        hint="Connect with a client certificate that an authority in [certificates.NAME] of the issuer's file has signed.",
    )
