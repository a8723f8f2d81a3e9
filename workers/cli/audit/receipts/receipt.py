"""``sigmill audit receipt``: a receipt for one digest, made from an exported record or verified offline."""

from __future__ import annotations

from pathlib import Path

import click

from queueing.errors import InputUnreadable, OutputUnwritable, ProofInvalid
from queueing.files.durable_file import replace_durably
from queueing.transparency.entries import OutcomeEntry
from workers.cli.audit.digest_option import Digest
from workers.cli.audit.key_files import service_key_option, vkeys_option
from workers.cli.audit.receipts.receipt_files import keys_of, print_receipt, receipt_in, verified
from workers.cli.audit.receipts.signing_key import check_signing_key, signing_key_option
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output
from workers.record.bundle.reader import BundleReader, origins_of
from workers.record.bundle.receipts import make_receipt
from workers.record.bundle.search import Match, Query, search
from workers.record.retention.minimum import removed_sentence


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
@signing_key_option
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
    trusted = keys_of(keys["vkeys"], keys["service_key"])
    data = newest_receipt(source, digest) if source.is_dir() else receipt_in(source)
    found = verified(data, trusted, digest=digest, signature=signature)
    if keys["signing_key"] is not None:
        check_signing_key(found, keys["signing_key"])
    if out is not None and source.is_dir():
        _write(out, data)
    print_receipt(output, found)
    return Exit.DONE


def newest_receipt(bundle: Path, digest: bytes) -> bytes:
    """The newest receipt of the digest in an exported record, not verified. Raises ``ProofInvalid`` or ``InputUnreadable``."""
    newest: tuple[BundleReader, Match] | None = None
    removed = ""
    try:
        for origin in origins_of(bundle):
            if minimum := origin.minimum():
                removed = f"; {removed_sentence(minimum)}"
            for match in search(origin, Query(digest=digest)):
                if not isinstance(match.entry, OutcomeEntry):
                    continue  # in doubt: there is no signature to prove
                if newest is None or match.entry.at_ms >= newest[1].entry.at_ms:
                    newest = origin, match
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    if newest is None:
        raise ProofInvalid(f"the digest is not in this bundle{removed}")
    origin, match = newest
    return make_receipt(origin, match, match.envelope.digests.index(digest))


def _write(file: Path, data: bytes) -> None:
    try:
        replace_durably(file, data, mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{file}: {error.strerror}") from error
