"""Certificates for keys of tests, issued by another key or by themselves."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
AUTHORITY = "CA"


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate_for(
    public: PublicKey, issuer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str, *, authority: bool
) -> bytes:
    """A certificate in DER, as code signing wants it; the issuer is called ``AUTHORITY``."""
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(AUTHORITY))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
    )
    if not authority:
        purposes = [ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(issuer, hashes.SHA256()).public_bytes(Encoding.DER)


def issue(
    issuer: ec.EllipticCurvePrivateKey | None,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    name: str,
) -> bytes:
    """The certificate of a key in DER; an authority's own where there is no issuer."""
    return certificate_for(key.public_key(), issuer or key, name, authority=issuer is None)


def pem(der: bytes) -> bytes:
    """The certificate in PEM."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
