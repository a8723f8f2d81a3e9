"""PKCS#10 certificate requests (RFC 2986), to be signed by a key in a token: the part to be signed, and the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from queueing.protocol import der
from workers.pki.schemes import signature_algorithm

if TYPE_CHECKING:
    from queueing.protocol.public_keys import PublicKey

_EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"  # RFC 2985 5.4.2
_ATTESTATION: Final = "1.2.840.113549.1.9.16.2.59"  # id-aa-attestation, of the LAMPS draft on CSR attestation


class Profile(StrEnum):
    """Profile of a request: what the certificate is for (extended key usage); ``none`` leaves it to the authority."""

    CODE_SIGNING = "code-signing"
    DOCUMENT_SIGNING = "document-signing"
    TIME_STAMPING = "time-stamping"
    EMAIL_PROTECTION = "email-protection"
    NONE = "none"


_USAGES: Final[dict[Profile, tuple[x509.ObjectIdentifier, ...]]] = {
    Profile.CODE_SIGNING: (ExtendedKeyUsageOID.CODE_SIGNING,),
    Profile.DOCUMENT_SIGNING: (x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),),  # RFC 9336
    Profile.TIME_STAMPING: (ExtendedKeyUsageOID.TIME_STAMPING,),
    Profile.EMAIL_PROTECTION: (ExtendedKeyUsageOID.EMAIL_PROTECTION,),
    Profile.NONE: (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContent:
    """Content of a request; ``attestation`` is a whole attribute value in DER, or empty."""

    subject: x509.Name
    public_key: PublicKey
    profile: Profile = Profile.CODE_SIGNING
    alternative_names: tuple[x509.GeneralName, ...] = field(default=())
    attestation: bytes = b""

    def to_be_signed(self) -> bytes:
        """CertificationRequestInfo in DER: the bytes that the key signs."""
        attributes = [_attribute(_EXTENSION_REQUEST, der.sequence(*self._extensions()))]
        if self.attestation:
            attributes.append(_attribute(_ATTESTATION, self.attestation))
        return der.sequence(
            der.integer(0),
            self.subject.public_bytes(),
            self.public_key.spki,
            der.context(0, *sorted(attributes)),
        )

    def _extensions(self) -> list[bytes]:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        found = [extension(usage, critical=True)]
        if usages := _USAGES[self.profile]:
            # RFC 3161 2.3: of a time stamping certificate it is critical
            critical = self.profile is Profile.TIME_STAMPING
            found.append(extension(x509.ExtendedKeyUsage(usages), critical=critical))
        if self.alternative_names:
            found.append(extension(x509.SubjectAlternativeName(self.alternative_names), critical=False))
        return found


def assemble(content: RequestContent, signature: bytes) -> x509.CertificateSigningRequest:
    """The request with its signature. Raises ``ValueError`` where the signature is not the key's."""
    request = x509.load_der_x509_csr(
        der.sequence(
            content.to_be_signed(), signature_algorithm(content.public_key.kind), der.bit_string(signature)
        )
    )
    if not request.is_signature_valid:
        raise ValueError("the signature of the request is not the key's")
    return request


def request_pem(request: x509.CertificateSigningRequest) -> str:
    """The request as PEM."""
    return request.public_bytes(Encoding.PEM).decode()


def _attribute(oid: str, value: bytes) -> bytes:
    return der.sequence(der.oid(oid), der.set_of([value]))


def extension(value: x509.ExtensionType, *, critical: bool) -> bytes:
    """Extension in DER (RFC 5280 4.1)."""
    flag = der.tagged(0x01, b"\xff") if critical else b""
    return der.sequence(der.oid(value.oid.dotted_string), flag, der.octets(value.public_bytes()))
