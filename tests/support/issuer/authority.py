"""An authority of client certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path


class Root:
    """An authority."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(
            self.name,
            self.key.public_key(),
            [x509.BasicConstraints(ca=True, path_length=None)],
            authority=True,
        )

    def issue(
        self,
        *names: x509.GeneralName,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        days: int = 1,
    ) -> bytes:
        """A certificate in DER of these names, for a key that is thrown away."""
        return self._issue(ec.generate_private_key(ec.SECP256R1()), names, usage, days)

    def issue_to(self, stem: Path, *names: x509.GeneralName) -> None:
        """Write a certificate and its key to ``stem`` with .pem and .key."""
        key = ec.generate_private_key(ec.SECP256R1())
        der = self._issue(key, names, ExtendedKeyUsageOID.CLIENT_AUTH, 1)
        certificate = x509.load_der_x509_certificate(der)
        stem.with_suffix(".pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        stem.with_suffix(".key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )

    def _issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        usage: x509.ObjectIdentifier,
        days: int,
    ) -> bytes:
        extensions: list[x509.ExtensionType] = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.ExtendedKeyUsage([usage]),
        ]
        if names:
            extensions.append(x509.SubjectAlternativeName(names))
        subject = x509.Name([])
        return self._sign(subject, key.public_key(), extensions, days=days).public_bytes(Encoding.DER)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        extensions: list[Any],
        *,
        authority: bool = False,
        days: int = 1,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        flags = dict.fromkeys(
            (
                *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                *("encipher_only", "decipher_only"),
            ),
            False,
        )
        usage = x509.KeyUsage(
            digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **flags
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for extension in extensions:
            # RFC 5280 4.1.2.6: the names are critical where the subject is empty
            critical = isinstance(extension, x509.BasicConstraints | x509.SubjectAlternativeName)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, SHA256())
