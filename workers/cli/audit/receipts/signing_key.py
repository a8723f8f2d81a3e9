"""Public key that must have signed what a receipt is of: a file with a key or a certificate, which the relying party trusts."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from queueing.errors import ConfigError, ProofInvalid
from queueing.files.regular_file import read_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from queueing.transparency.receipts import Receipt

_MOST_BYTES: Final = 64 * 1024
_ONE_KEY: Final = "Give one public key or one certificate, in PEM or DER."
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm)

signing_key_option = click.option(
    "--signing-key",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Public key, or certificate (PEM or DER), that you trust: the signature of the receipt must be by this key.",
)


def check_signing_key(receipt: Receipt, file: Path) -> None:
    """Check that a verified receipt is of a signature by the key in this file. Raises ``ProofInvalid``, or ``ConfigError``."""
    trusted = signing_key_sha256(file)
    if not receipt.item.signature_sha256:
        code = receipt.item.code or receipt.entry.code
        raise ProofInvalid(
            f"the receipt is of no signature by any key: the digest was not signed ({code[:64]})"
        )
    signed_by = receipt.entry.public_key_sha256
    if not hmac.compare_digest(signed_by, trusted):
        raise ProofInvalid(
            f"the receipt is of a signature by another key: SHA-256 of its public key {signed_by.hex()}, of the one in"
            f" {file} {trusted.hex()}"
        )


def signing_key_sha256(file: Path) -> bytes:
    """SHA-256 of the SubjectPublicKeyInfo (DER) of the one key in a file. Raises ``ConfigError``."""
    try:
        raw = read_regular(file, largest_bytes=_MOST_BYTES)
    except OSError as error:
        raise ConfigError(str(file), "", error.strerror or "cannot be read", _ONE_KEY) from None
    blocks = _BLOCK.findall(raw)
    if any(block.endswith(b"PRIVATE KEY") for block in blocks):
        raise ConfigError(
            str(file), "", "it has a private key", "Give the public one, and find out whose it is."
        )
    if len(blocks) > 1:
        raise ConfigError(str(file), "", f"it has {len(blocks)} keys or certificates", _ONE_KEY)
    try:
        with warnings.catch_warnings(action="ignore"):  # of old certificates; their key counts alone
            key = _key_in(raw, blocks[0] if blocks else b"")
            spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        raise ConfigError(str(file), "", "it is no public key and no certificate", _ONE_KEY) from None
    return hashlib.sha256(spki).digest()


def _key_in(raw: bytes, block: bytes) -> PublicKeyTypes:
    """The key; ``block``: kind of the PEM block, empty for DER. Raises one of ``_UNREADABLE``."""
    from cryptography import x509  # it loads slowly, and most verifications have no certificate

    match block:
        case b"PUBLIC KEY":
            return load_pem_public_key(raw)
        case b"CERTIFICATE":
            return x509.load_pem_x509_certificate(raw).public_key()
        case b"":
            with contextlib.suppress(*_UNREADABLE):
                return load_der_public_key(raw)
            return x509.load_der_x509_certificate(raw).public_key()
    raise ValueError("another kind of block")
