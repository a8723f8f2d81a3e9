"""PE files of random content, as large as wished, and a certificate for the key that signs them."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_ALIGNMENT: Final = 512
_HEADERS_BYTES: Final = 512
_SECTION_ADDRESS: Final = 4096


def write_pe_files(folder: Path, count: int, size_bytes: int) -> None:
    """``count`` files of about ``size_bytes``, no two alike, named so that they sort."""
    folder.mkdir()
    head = pe_head(size_bytes - _HEADERS_BYTES)
    body_bytes = _padded(size_bytes - _HEADERS_BYTES)
    body = bytearray(os.urandom(body_bytes))
    for number in range(count):
        body[:16] = os.urandom(16)
        (folder / f"{number:05}.exe").write_bytes(head + body)


def pe_head(body_bytes: int) -> bytes:
    """Headers of a 64-bit PE file with one section (PE format, 2.4 and 3.3), up to the section."""
    body_bytes = _padded(body_bytes)
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    file_header = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x0022)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        0x20B,  # PE32+
        14,
        0,
        body_bytes,
        0,
        0,
        _SECTION_ADDRESS,
        _SECTION_ADDRESS,
        0x140000000,
        4096,
        _ALIGNMENT,
        6,
        0,
        0,
        0,
        6,
        0,
        0,
        _SECTION_ADDRESS + body_bytes,
        _HEADERS_BYTES,
        0,
        3,  # console
        0x8160,
        1 << 20,
        4096,
        1 << 20,
        4096,
        0,
        16,
    ) + bytes(128)
    section = struct.pack(
        "<8sIIIIIIHHI",
        b".text",
        body_bytes,
        _SECTION_ADDRESS,
        body_bytes,
        _HEADERS_BYTES,
        0,
        0,
        0,
        0,
        0x60000020,
    )
    return (dos + b"PE\0\0" + file_header + optional + section).ljust(_HEADERS_BYTES, b"\0")


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNMENT) * _ALIGNMENT


def write_certificate(spki: bytes, folder: Path) -> tuple[Path, Path]:
    """A code signing certificate for a public key, and its issuer's: two PEM files, for a day."""
    public = load_der_public_key(spki)
    assert isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = _certificate("Bench CA", authority.public_key(), authority, "Bench CA")
    leaf = _certificate("Bench", public, authority, "Bench CA")
    files = folder / "leaf.pem", folder / "ca.pem"
    for file, certificate in zip(files, (leaf, issuer), strict=True):
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return files


def _certificate(
    name: str,
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    authority: ec.EllipticCurvePrivateKey,
    issuer: str,
) -> x509.Certificate:
    now = datetime.now(UTC)
    is_authority = name == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
        )
    return builder.sign(authority, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
