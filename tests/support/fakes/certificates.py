"""Certificates made in a moment, right or wrong in one place; no authority of the world has issued them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)

Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@cache
def private_key(number: int) -> ec.EllipticCurvePrivateKey:
    """One of many P-256 keys."""
    return ec.derive_private_key(number, ec.SECP256R1())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Certificate to be made; the defaults are a good one for code signing."""

    name: str = "leaf"
    key: Private
    starts: datetime = NOW - DAY
    ends: datetime = NOW + 365 * DAY
    authority: bool = False
    usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    digital_signature: bool = True
    issuer_address: str | None = None
    serial: int | None = None


def issue(kind: Kind, *, by: Kind) -> x509.Certificate:
    """The certificate, signed by the key of ``by``."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(kind))
        .issuer_name(_name(by))
        .public_key(kind.key.public_key())
        .serial_number(kind.serial or x509.random_serial_number())
        .not_valid_before(kind.starts)
        .not_valid_after(kind.ends)
        .add_extension(x509.BasicConstraints(ca=kind.authority, path_length=None), critical=True)
    )
    if kind.issuer_address is not None:
        address = x509.UniformResourceIdentifier(kind.issuer_address)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, address)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if not kind.authority:
        usage = x509.KeyUsage(kind.digital_signature, not kind.digital_signature, *[False] * 7)
        builder = builder.add_extension(usage, critical=True)
        if kind.usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(kind.usages), critical=False)
    return builder.sign(by.key, hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    """PEM in this order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _name(kind: Kind) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kind.name)])
