"""JSON lines printed by ``sign`` and ``wait``, and read by ``verify``."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Literal

import msgspec

from queueing.client.signatures import Signature
from queueing.errors import SigningError
from queueing.protocol.algorithms import Algorithm
from workers.cli.shell.output import ErrorObject
from workers.cli.signing.items import Item

Encoding = Literal["der", "raw"]


class SignedLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One signature in base64; fingerprint in hex. ``encoding`` is omitted unless ``--raw`` made it "raw".

    ``name_bytes``: all bytes of a name that is not UTF-8, in base64. ``error``: a file of it could not be written. ``receipt``:
    file of its receipt; ``receipt_missing``: why one that was asked for is missing, or false.
    """

    name: str
    name_bytes: str = ""
    digest: str | None = None
    algorithm: str
    key: str
    key_version: int
    public_key_sha256: str
    signature: str
    job_id: str
    encoding: Encoding = "der"
    verified: bool = True
    receipt: str | None = None
    receipt_missing: ErrorObject | None = None
    error: ErrorObject | None = None


class FailedLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item without a signature."""

    name: str
    name_bytes: str = ""
    digest: str | None = None
    algorithm: str
    key: str
    job_id: str | None = None
    error: ErrorObject


def signed_line(
    item: Item,
    signature: Signature,
    *,
    raw: bool,
    error: SigningError | None = None,
    receipt: Path | None = None,
) -> SignedLine:
    """Make the line of a signature; ``receipt``: file of its receipt."""
    missing = signature.receipt_missing
    return SignedLine(
        name=item.shown_name,
        name_bytes=item.name_bytes,
        digest=item.digest_text,
        algorithm=signature.algorithm,
        key=signature.key,
        key_version=signature.key_version,
        public_key_sha256=signature.public_key_sha256.hex(),
        signature=base64.b64encode(signature.raw() if raw else signature.signature).decode(),
        job_id=signature.job_id,
        encoding="raw" if raw else "der",
        verified=signature.verified,
        receipt=None
        if receipt is None
        else str(receipt).encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        receipt_missing=None if missing is None else ErrorObject.of(missing),
        error=None if error is None else ErrorObject.of(error),
    )


def failed_line(item: Item, error: SigningError, *, algorithm: Algorithm, key: str) -> FailedLine:
    """Make the line of an item without a signature."""
    job_ids: tuple[str, ...] = getattr(error, "job_ids", ())
    return FailedLine(
        name=item.shown_name,
        name_bytes=item.name_bytes,
        digest=item.digest_text,
        algorithm=algorithm,
        key=key.partition("/")[0],
        job_id=job_ids[0] if job_ids else None,
        error=ErrorObject.of(error),
    )
