"""CMS SignedData (RFC 5652) by a key in a token, and the self-signed certificate by which ``openssl cms -verify`` checks it.

One signer, one certificate, the content inside. The reader takes this form only, and says why it takes no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from queueing.protocol import der
from queueing.protocol.certificates import UNREADABLE
from queueing.protocol.public_keys import PublicKey
from workers.pki.requests import extension
from workers.pki.schemes import digest_algorithm, is_signature, message_hash, signature_algorithm

_SIGNED_DATA: Final = der.oid("1.2.840.113549.1.7.2")
_DATA: Final = der.oid("1.2.840.113549.1.7.1")
_CONTENT_TYPE: Final = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST: Final = der.oid("1.2.840.113549.1.9.4")
_SIGNING_TIME: Final = der.oid("1.2.840.113549.1.9.5")
_CERTIFICATE_LIFETIME: Final = timedelta(days=20 * 365)
"""A statement is read as long as its key's signatures; the pinned service key decides, not this date."""

CONTEXT_0: Final = 0xA0


class SignedDataInvalid(ValueError):
    """No SignedData of the pinned key; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateContent:
    """Self-signed certificate of a service key, to be signed; ``name`` is its common name (64 characters at most)."""

    public_key: PublicKey
    name: str
    starts: datetime

    def to_be_signed(self) -> bytes:
        """TBSCertificate in DER (RFC 5280 4.1)."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]).public_bytes()
        key_id = x509.SubjectKeyIdentifier(hashlib.sha1(self.public_key.spki, usedforsecurity=False).digest())
        usage = x509.KeyUsage(True, *[False] * 8)
        extensions = der.sequence(
            extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
            extension(usage, critical=True),
            extension(key_id, critical=False),
        )
        return der.sequence(
            der.context(0, der.integer(2)),
            der.integer(int.from_bytes(self.public_key.sha256[:16], "big")),
            signature_algorithm(self.public_key.kind),
            name,
            der.sequence(der.time(self.starts), der.time(self.starts + _CERTIFICATE_LIFETIME)),
            name,
            self.public_key.spki,
            der.context(3, extensions),
        )

    def assemble(self, signature: bytes) -> x509.Certificate:
        """The certificate with its signature."""
        return x509.load_der_x509_certificate(
            der.sequence(
                self.to_be_signed(), signature_algorithm(self.public_key.kind), der.bit_string(signature)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedContent:
    """Content to be signed by the key of the certificate."""

    content: bytes
    certificate: x509.Certificate
    signer: PublicKey
    at: datetime

    def to_be_signed(self) -> bytes:
        """Signed attributes in DER (RFC 5652 5.4): the bytes that the key signs."""
        digest = hashlib.new(message_hash(self.signer.kind), self.content).digest()
        return der.set_of(
            [
                _attribute(_CONTENT_TYPE, _DATA),
                _attribute(_MESSAGE_DIGEST, der.octets(digest)),
                _attribute(_SIGNING_TIME, der.time(self.at)),
            ]
        )

    def assemble(self, signature: bytes) -> bytes:
        """The whole ContentInfo in DER."""
        kind = self.signer.kind
        digests = digest_algorithm(message_hash(kind))
        attributes = der.read(self.to_be_signed()).content
        signer = der.sequence(
            der.integer(1),
            der.sequence(self.certificate.issuer.public_bytes(), der.integer(self.certificate.serial_number)),
            digests,
            der.context(0, attributes),
            signature_algorithm(kind),
            der.octets(signature),
        )
        signed = der.sequence(
            der.integer(1),
            der.set_of([digests]),
            der.sequence(_DATA, der.context(0, der.octets(self.content))),
            der.context(0, self.certificate.public_bytes(Encoding.DER)),
            der.set_of([signer]),
        )
        return der.sequence(_SIGNED_DATA, der.context(0, signed))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedContent:
    """Content of a SignedData, and the key that its certificate names; nothing is verified yet."""

    content: bytes
    signer_spki: bytes
    _attributes: bytes
    _signature: bytes

    def verify(self, pinned: PublicKey) -> None:
        """Raise ``SignedDataInvalid`` unless the pinned key signed exactly this content."""
        if self.signer_spki != pinned.spki:
            raise SignedDataInvalid(
                "it is signed by another key than the pinned service key (SHA-256 of its SPKI:"
                f" {hashlib.sha256(self.signer_spki).hexdigest()})"
            )
        digest = hashlib.new(message_hash(pinned.kind), self.content).digest()
        expected = {_attribute(_CONTENT_TYPE, _DATA), _attribute(_MESSAGE_DIGEST, der.octets(digest))}
        try:
            present = {value.encoded for value in der.read(self._attributes).children()}
        except der.DerInvalid as error:
            raise SignedDataInvalid(f"its signed attributes cannot be read ({error})") from None
        if not expected <= present:
            raise SignedDataInvalid("the content was changed: its digest is not the signed one")
        if not is_signature(pinned, self._attributes, self._signature):
            raise SignedDataInvalid("the signature is not the service key's: the file was changed or made up")


def open_signed(raw: bytes) -> OpenedContent:
    """Content and signature of a file of ``SignedContent.assemble``. Raises ``SignedDataInvalid``."""
    try:
        return _open(raw)
    except der.DerInvalid as error:
        raise SignedDataInvalid(f"it is no CMS SignedData of this form ({error})") from None
    except UNREADABLE as error:
        raise SignedDataInvalid(f"its certificate cannot be read ({error!s:.100})") from None


def _open(raw: bytes) -> OpenedContent:
    kind, wrapped = der.read(raw).fields(der.SEQUENCE, 2)
    if kind.encoded != _SIGNED_DATA:
        raise der.DerInvalid("the content type is not SignedData")
    (signed,) = wrapped.fields(CONTEXT_0, 1)
    _, _, encapsulated, certificates, signers = signed.fields(der.SEQUENCE, 5)
    _, content = encapsulated.fields(der.SEQUENCE, 2)
    (octets,) = content.fields(CONTEXT_0, 1)
    (certificate,) = certificates.fields(CONTEXT_0, 1)
    (signer,) = signers.fields(der.SET, 1)
    _, _, _, attributes, _, signature = signer.fields(der.SEQUENCE, 6)
    key = x509.load_der_x509_certificate(certificate.encoded).public_key()
    return OpenedContent(
        content=octets.expect(der.OCTET_STRING).content,
        signer_spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        _attributes=der.tagged(der.SET, attributes.expect(CONTEXT_0).content),
        _signature=signature.expect(der.OCTET_STRING).content,
    )


def now_in_seconds() -> datetime:
    """The time in whole seconds, as certificates and CMS have it."""
    return datetime.now(UTC).replace(microsecond=0)


def _attribute(oid: bytes, value: bytes) -> bytes:
    return der.sequence(oid, der.set_of([value]))
