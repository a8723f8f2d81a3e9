"""``sigmill wait``: collects the outcomes of submitted jobs, in any process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import msgspec

from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_client import SigningClient
from queueing.errors import InputUnreadable, SigningError, from_reason
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.options import (
    JobId,
    client_config_option,
    deadline_option,
    json_option,
)
from workers.cli.shell.output import ErrorObject, Exit, Tally, emit, print_message
from workers.cli.shell.progress import Progress
from workers.cli.signing.hashing import HashMeter
from workers.cli.signing.items import Item, name_from_json
from workers.cli.signing.json_lines import FailedLine, failed_line, signed_line
from workers.cli.signing.manifest import open_manifest
from workers.cli.signing.out_dir import ItemFolder, receipts_in
from workers.cli.signing.request_options import WaitingCommand, client_and_deadline
from workers.cli.signing.submit import SubmittedItem, SubmittedLine
from workers.cli.signing.wait_notes import wait_notes

_MOST_BYTES: Final = 256 << 20
"""A million items."""

_PIECE_BYTES: Final = 1 << 20


@click.command()
@client_config_option
@deadline_option
@click.option("--raw", is_flag=True, help="Print ECDSA signatures as r || s instead of DER.")
@click.option(
    "--job",
    "job_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Output of `sigmill submit`; - reads stdin. Its signatures are verified.",
)
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Write the receipt of each signature to DIR/NAME.tlog-proof, of a job that was submitted with --receipts. A signature is"
    " printed without it after `receipt_timeout_s` of client.toml.",
)
@click.argument("job_ids", nargs=-1, type=JobId())
@json_option
def wait(
    *,
    config: Path,
    deadline_s: float | None,
    raw: bool,
    job_file: Path | None,
    receipts: Path | None,
    job_ids: tuple[str, ...],
) -> Exit:
    """Wait for jobs by --job FILE, or by JOB_IDS.

    Prints JSON lines as `sigmill sign` does. With a bare job id the digests are unknown: its lines have
    `"verified": false`, and `sigmill verify` can check them. With --receipts a line has receipt (the file), or
    receipt_missing (why): that is no failure, and the same command collects later what came later.
    """
    if (job_file is None) == (not job_ids):
        raise click.UsageError("give --job FILE or job ids")
    if receipts is not None and job_file is None:
        raise click.UsageError("--receipts needs --job: a receipt is verified by the digests of its job")
    submitted = None if job_file is None else _read(job_file)
    folder = None if receipts is None or submitted is None else _receipts_of(submitted, receipts)
    client, deadline_s = client_and_deadline(config, deadline_s)
    waiting = WaitingCommand(client, config)
    if submitted is not None:
        return run_stoppable(_wait_job(client, submitted, deadline_s, raw=raw, receipts=folder), waiting)
    return run_stoppable(_wait_ids(client, job_ids, deadline_s, raw=raw), waiting)


def _read(job_file: Path) -> SubmittedLine:
    try:
        submitted = msgspec.json.decode(_bytes_of(job_file), type=SubmittedLine)
        if sum(_item(item).error is None for item in submitted.items) != submitted.job.count:
            raise _not_ours(job_file)
        return submitted
    except OSError as error:
        raise click.UsageError(f"{job_file}: {error.strerror}") from None
    except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, of other fields
        raise _not_ours(job_file) from None


def _bytes_of(job_file: Path) -> bytes:
    """All bytes of the file, a pipe or stdin; raises ``click.UsageError`` where they do not end."""
    file = open_manifest(job_file)
    raw = bytearray()
    try:
        while piece := file.read(_PIECE_BYTES):
            raw += piece
            if len(raw) > _MOST_BYTES:
                raise _not_ours(job_file)
    finally:
        if str(job_file) != "-":
            file.close()
    return bytes(raw)


def _receipts_of(submitted: SubmittedLine, folder: Path) -> ItemFolder:
    if not submitted.job.receipts:
        raise click.UsageError(
            "the job was submitted without --receipts, so that none are made; the operator makes receipts of it with"
            " `sigmill audit receipt`"
        )
    receipts = receipts_in(folder)
    names = [item.name for item in map(_item, submitted.items) if item.error is None]
    receipts.refuse_equal_paths(names)
    receipts.sweep(names)
    return receipts


def _not_ours(job_file: Path) -> click.UsageError:
    return click.UsageError(f"{job_file}: this is not the output of `sigmill submit`")


async def _wait_job(
    client: SigningClient,
    submitted: SubmittedLine,
    deadline_s: float,
    *,
    raw: bool,
    receipts: ItemFolder | None,
) -> Exit:
    tally = Tally()
    async with client, wait_notes(client, Progress(submitted.job.count), HashMeter()):
        collect = client.wait if receipts is None else client.receipts
        outcomes = iter(await collect(submitted.job, timeout_s=deadline_s))
    for item in submitted.items:
        if item.error is not None:
            tally.add(_print_refused(item, item.error, submitted))
        else:
            tally.add(_print(_item(item), next(outcomes), submitted, raw=raw, receipts=receipts))
    return tally.exit_code()


async def _wait_ids(client: SigningClient, job_ids: tuple[str, ...], deadline_s: float, *, raw: bool) -> Exit:
    tally = Tally()
    progress = Progress(None)
    async with client, wait_notes(client, progress, HashMeter()):
        for job_id in job_ids:
            try:
                outcomes = await client.wait(job_id, timeout_s=deadline_s)
            except SigningError as error:
                outcomes = [error]
            progress.clear()
            for i, outcome in enumerate(outcomes):
                item = Item(name=f"{job_id}/{i}")
                refused = _print(item, outcome, None, raw=raw)
                tally.add(refused)
                progress.count(ok=refused is None)
            progress.clear()
    print_message("note: with a bare job id the digests are unknown, so these signatures are not verified")
    return tally.exit_code()


def _print(
    item: Item,
    outcome: Outcome,
    submitted: SubmittedLine | None,
    *,
    raw: bool,
    receipts: ItemFolder | None = None,
) -> SigningError | None:
    if isinstance(outcome, Signature):
        path, error = _write(receipts, item, outcome)
        emit(signed_line(item, outcome, raw=raw, receipt=path, error=error))
        return error
    if submitted is None:
        job_id = item.name.partition("/")[0]
        emit(FailedLine(name=item.name, algorithm="", key="", job_id=job_id, error=ErrorObject.of(outcome)))
    else:
        job = submitted.job
        emit(failed_line(item, outcome, algorithm=job.algorithm, key=job.key))
    return outcome


def _write(
    receipts: ItemFolder | None, item: Item, signature: Signature
) -> tuple[Path | None, SigningError | None]:
    """Path of the receipt's file, and the error of one that cannot be written."""
    if receipts is None or signature.receipt is None:
        return None, None
    try:
        return receipts.write(item.name, signature.receipt), None
    except SigningError as error:
        return None, error


def _print_refused(item: SubmittedItem, error: ErrorObject, submitted: SubmittedLine) -> SigningError:
    job = submitted.job
    emit(
        FailedLine(
            name=item.name,
            name_bytes=item.name_bytes,
            digest=item.digest,
            algorithm=job.algorithm,
            key=job.key,
            error=error,
        )
    )
    return from_reason(error.code, error.message)


def _item(item: SubmittedItem) -> Item:
    hash_name, _, digits = (item.digest or "").partition(":")
    try:
        name, digest = name_from_json(item.name, item.name_bytes), bytes.fromhex(digits)
    except (ValueError, SigningError):
        problem = InputUnreadable("the item is not as `sigmill submit` writes it")
        return Item(name=item.name, error=problem)
    error = None if item.error is None else from_reason(item.error.code, item.error.message)
    return Item(name=name, hash_name=hash_name, digest=digest, error=error)
