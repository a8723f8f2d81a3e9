"""``sigmill audit receipt``: a receipt for one digest, made from an exported record or verified offline."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from queueing.errors import InputUnreadable, OutputUnwritable, ProofInvalid
from queueing.files.durable_file import replace_durably
from queueing.transparency.entries import OutcomeEntry
from workers.cli.audit.digest_option import Digest
from workers.cli.audit.key_files import service_key_option, vkeys_option
from workers.cli.audit.receipts.receipt_files import (
    keys_of,
    print_receipt,
    receipt_in,
    signature_encodings,
    verified,
)
from workers.cli.audit.receipts.signing_key import check_signing_key, signing_key_option
from workers.cli.audit.tenant_option import tenant_name
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
@click.option(
    "--tenant", callback=tenant_name, help="The tenant whose receipt it must be; of any tenant without it."
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
    tenant: str | None,
    **keys: Path | None,
) -> Exit:
    """Make or verify a receipt for one digest.

    A receipt proves, offline and for years, that the record has this digest, with the hash of its signature: one text of a
    few kB in the format of C2SP's tlog-proof, which shows nothing of other digests. With a BUNDLE (a folder of `sigmill
    audit export`) the newest receipt of the digest is made, of --signature where it is given, else of a signature where one was made; with
    a RECEIPT (a file) it is verified. The receipt has the statement in which the service key certified the key of its checkpoint; one that
    has none needs --vkeys.

    Exit code 1 if it does not hold, or the digest is not in the bundle.
    """
    trusted = keys_of(keys["vkeys"], keys["service_key"])
    if source.is_dir():
        made = [] if signature is None else signature_encodings(signature)
        data = newest_receipt(source, digest, [hashlib.sha256(each).digest() for each in made])
    else:
        data = receipt_in(source)
    found = verified(data, trusted, digest=digest, signature=signature, tenant=tenant or "")
    if keys["signing_key"] is not None:
        check_signing_key(found, keys["signing_key"])
    if out is not None and source.is_dir():
        _write(out, data)
    print_receipt(output, found)
    return Exit.DONE


class _Candidate(NamedTuple):
    """Item of a job whose receipt can be made: a signed one before others, then the newest. ``number``: of the item in its job."""

    is_signed: bool
    at_ms: int
    origin: BundleReader
    match: Match
    number: int


def newest_receipt(bundle: Path, digest: bytes, signatures: Collection[bytes] = ()) -> bytes:
    """The newest receipt of the digest in an exported record, not verified. Raises ``ProofInvalid`` or ``InputUnreadable``.

    ``signatures``: SHA-256 of each encoding of the signature that it must be of; empty: of the newest one, or of the newest refusal
    where the digest was never signed.
    """
    newest: _Candidate | None = None
    removed = ""
    try:
        for origin in origins_of(bundle):
            if minimum := origin.minimum():
                removed = f"; {removed_sentence(minimum)}"
            for each in _candidates(origin, digest, signatures):
                if newest is None or each[:2] >= newest[:2]:
                    newest = each
    except OSError as error:
        raise InputUnreadable(f"{error.filename}: {error.strerror}") from error
    if newest is None:
        what = "this signature over the digest" if signatures else "the digest"
        raise ProofInvalid(f"{what} is not in this bundle{removed}")
    return make_receipt(newest.origin, newest.match, newest.number)


def _candidates(origin: BundleReader, digest: bytes, signatures: Collection[bytes]) -> Iterator[_Candidate]:
    """Items of this digest, and of one of these signatures where any are given. Of a job in doubt there is none: nothing is proven of it."""
    for match in search(origin, Query(digest=digest)):
        if not isinstance(match.entry, OutcomeEntry):
            continue
        for item in match.row.items(match.envelope.digests):
            if item.digest == digest and (not signatures or item.signature_sha256 in signatures):
                yield _Candidate(bool(item.signature_sha256), match.entry.at_ms, origin, match, item.number)


def _write(file: Path, data: bytes) -> None:
    try:
        replace_durably(file, data, mode=0o644)
    except OSError as error:
        raise OutputUnwritable(f"{file}: {error.strerror}") from error
