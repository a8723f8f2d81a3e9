"""``sigmill audit receipt``: a receipt for one digest, made from an exported record or verified offline."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from queueing.errors import InputUnreadable, OutputUnwritable, ProofInvalid
from queueing.files.durable_file import replace_durably
from queueing.files.regular_file import read_regular
from queueing.transparency.proof_files import MAX_PROOF_BYTES
from queueing.transparency.receipts import Receipt, TrustedKeys, verify_receipt
from workers.cli.audit.digest_option import Digest
from workers.cli.audit.key_files import service_key_option, service_keys, trusted_keys, vkeys_option
from workers.cli.audit.times import utc_text
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_message
from workers.record.bundle.reader import BundleReader, origins_of
from workers.record.bundle.receipts import make_receipt
from workers.record.bundle.search import Match, Query, search

_MOST_SIGNATURE_BYTES = 16 * 1024


class ReceiptLine(msgspec.Struct, frozen=True, kw_only=True):
    """The verified content of a receipt. ``signature_sha256``: hex, empty where the digest was not signed."""

    origin: str
    entry: int
    at: str
    key_version: int
    signature_sha256: str
    code: str


@click.command("receipt")
@click.argument("source", type=click.Path(path_type=Path), metavar="BUNDLE|RECEIPT")
@click.option("--digest", type=Digest(), required=True, metavar="HEX", help="The digest that was signed.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With a BUNDLE: file of the receipt. It is verified before it is written.",
)
@service_key_option
@vkeys_option
@click.option(
    "--signature",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the signature (raw bytes): the receipt must be of this one.",
)
@json_option
@click.pass_obj
def receipt(
    output: Output,
    /,
    *,
    source: Path,
    digest: bytes,
    out: Path | None,
    signature: Path | None,
    **keys: Path | None,
) -> Exit:
    """Make or verify a receipt for one digest.

    A receipt proves, offline and for years, that the record has this digest, with the hash of its signature: one text of a
    few kB in the format of C2SP's tlog-proof, which shows nothing of other digests. With a BUNDLE (a folder of `sigmill
    audit export`) the newest receipt of the digest is made; with a RECEIPT (a file) it is verified. The receipt has the
    statement in which the service key certified the key of its checkpoint; one that has none needs --vkeys.

    Exit code 1 if it does not hold, or the digest is not in the bundle.
    """
    trusted = _trusted(keys["vkeys"], keys["service_key"])
    made = None if signature is None else _read(signature, _MOST_SIGNATURE_BYTES)
    data = _made(source, digest) if source.is_dir() else _read(source, MAX_PROOF_BYTES)
    verified = verify_receipt(data, trusted, digest=digest, signature=made)
    if out is not None and source.is_dir():
        _write(out, data)
    _print(output, verified)
    return Exit.DONE


def _trusted(vkeys: Path | None, service_key: Path | None) -> TrustedKeys:
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


def _made(bundle: Path, digest: bytes) -> bytes:
    """The newest receipt of the digest, not verified."""
    newest: tuple[BundleReader, Match] | None = None
    try:
        for origin in origins_of(bundle):
            for match in search(origin, Query(digest=digest)):
                if newest is None or match.entry.at_ms >= newest[1].entry.at_ms:
                    newest = origin, match
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    if newest is None:
        raise ProofInvalid("the digest is not in this bundle")
    origin, match = newest
    return make_receipt(origin, match, match.envelope.digests.index(digest))


def _print(output: Output, verified: Receipt) -> None:
    line = ReceiptLine(
        origin=verified.checkpoint.origin,
        entry=verified.index,
        at=utc_text(verified.entry.at_ms),
        key_version=verified.entry.key_version,
        signature_sha256=verified.item.signature_sha256.hex(),
        code=verified.item.code or verified.entry.code,
    )
    if output.as_json:
        emit(line)
        return
    outcome = f"not signed ({line.code})" if line.code else f"signed, SHA-256 {line.signature_sha256}"
    print_message(f"{line.origin}, entry {line.entry}, {line.at}: {outcome}")


def _read(file: Path, most: int) -> bytes:
    try:
        return read_regular(file, largest_bytes=most)
    except OSError as error:
        raise InputUnreadable(f"{file}: {error.strerror}") from error


def _write(file: Path, data: bytes) -> None:
    try:
        replace_durably(file, data, mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{file}: {error.strerror}") from error
