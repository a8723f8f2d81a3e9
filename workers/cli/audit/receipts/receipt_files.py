"""Verification of a receipt's file, offline, for ``sigmill audit receipt`` and ``sigmill verify --receipt``."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Final

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from queueing.errors import InputUnreadable, ProofInvalid
from queueing.files.regular_file import read_regular
from queueing.transparency.proof_files import MAX_PROOF_BYTES
from queueing.transparency.receipts import Receipt, claimed_item, verify_receipt
from queueing.transparency.trusted_keys import TrustedKeys
from workers.cli.audit.key_files import service_keys, trusted_keys
from workers.cli.audit.times import utc_text
from workers.cli.shell.output import Output, emit, print_message

_MOST_SIGNATURE_BYTES: Final = 16 * 1024
_RAW_ECDSA_BYTES: Final = frozenset({64, 96, 132})
"""r || s of P-256, P-384 and P-521."""

_HASH_NAMES: Final = {32: "sha256", 48: "sha384", 64: "sha512"}


class ReceiptLine(msgspec.Struct, frozen=True, kw_only=True):
    """The verified content of a receipt. ``signature_sha256``: hex, empty where the digest was not signed.

    ``public_key_sha256``: hex, of the public key (SubjectPublicKeyInfo) that signed; empty where no digest of the job was signed.
    """

    origin: str
    entry: int
    at: str
    key_version: int
    signature_sha256: str
    public_key_sha256: str
    code: str


def keys_of(vkeys: Path | None, service_key: Path | None) -> TrustedKeys:
    """Keys of these files. Raises ``click.UsageError`` where there is neither."""
    if vkeys is None and service_key is None:
        raise click.UsageError(
            "give --service-key, or --vkeys for a receipt without a statement of the service key: what a receipt says of"
            " itself proves nothing"
        )
    return TrustedKeys(
        checkpoints=[] if vkeys is None else trusted_keys(vkeys),
        service=[] if service_key is None else service_keys(service_key),
    )


def verified(
    data: bytes, trusted: TrustedKeys, *, digest: bytes, signature: Path | None, tenant: str = ""
) -> Receipt:
    """A receipt of this digest, and where they are given, of the signature in this file (ECDSA also as r || s) and this tenant.

    Raises ``ProofInvalid``, or ``InputUnreadable``.
    """
    if signature is None:
        return verify_receipt(data, trusted, digest=digest, tenant=tenant)
    found = claimed_item(data).signature_sha256
    made, *others = signature_encodings(signature)
    for other in others:
        if hmac.compare_digest(hashlib.sha256(other).digest(), found):
            made = other
    return verify_receipt(data, trusted, digest=digest, signature=made, tenant=tenant)


def signature_encodings(file: Path) -> list[bytes]:
    """The signature in a file as it is, and in DER where it may be r || s of ECDSA. Raises ``InputUnreadable``."""
    made = read_file(file, _MOST_SIGNATURE_BYTES)
    if len(made) not in _RAW_ECDSA_BYTES:
        return [made]
    half = len(made) // 2
    der = encode_dss_signature(int.from_bytes(made[:half], "big"), int.from_bytes(made[half:], "big"))
    return [made, der]


def receipt_in(file: Path) -> bytes:
    """Bytes of a receipt's file, not verified. Raises ``InputUnreadable``."""
    return read_file(file, MAX_PROOF_BYTES)


def hash_of(data: bytes) -> str:
    """Name of the hash of the digest that a receipt names. Raises ``ProofInvalid``."""
    name = _HASH_NAMES.get(len(claimed_item(data).digest))
    if name is None:
        raise ProofInvalid("the receipt is of no digest of SHA-256, SHA-384 or SHA-512")
    return name


def read_file(file: Path, most: int) -> bytes:
    """Bytes of a regular file, at most so many. Raises ``InputUnreadable``."""
    try:
        return read_regular(file, largest_bytes=most)
    except OSError as error:
        raise InputUnreadable(f"{file}: {error.strerror}") from error


def print_receipt(output: Output, receipt: Receipt) -> None:
    """Print the content of a verified receipt."""
    line = ReceiptLine(
        origin=receipt.checkpoint.origin,
        entry=receipt.index,
        at=utc_text(receipt.entry.at_ms),
        key_version=receipt.entry.key_version,
        signature_sha256=receipt.item.signature_sha256.hex(),
        public_key_sha256=receipt.entry.public_key_sha256.hex(),
        code=receipt.item.code or receipt.entry.code,
    )
    if output.as_json:
        emit(line)
        return
    outcome = f"not signed ({line.code})" if line.code else f"signed, SHA-256 {line.signature_sha256}"
    print_message(f"{line.origin}, entry {line.entry}, {line.at}: {outcome}")
