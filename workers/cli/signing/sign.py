"""``sigmill sign``: prints one JSON line per item, in input order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Unpack, cast

import click

from queueing.client.signatures import Outcome, Signature
from queueing.errors import InputUnreadable, OutputUnwritable, ReceiptMissing, SigningError
from queueing.errors.counts import agreed, counted
from queueing.protocol.algorithms import Algorithm
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.output import Exit, Tally, emit, print_message, stdout_is_terminal
from workers.cli.shell.progress import Progress
from workers.cli.signing.hashing import HashMeter
from workers.cli.signing.items import Item
from workers.cli.signing.json_lines import FailedLine, SignedLine, failed_line, signed_line
from workers.cli.signing.out_dir import ItemFolder, receipts_in, signatures_in
from workers.cli.signing.request_options import SigningArguments, SigningOptions, signing_options
from workers.cli.signing.wait_notes import wait_notes

_NO_DIGEST: Final = cast("bytes", None)

_SHOWN_ERRORS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Folders of signatures and of receipts, where these are wanted."""

    signatures: ItemFolder | None
    receipts: ItemFolder | None

    def all(self) -> list[ItemFolder]:
        """Wanted folders."""
        return [folder for folder in (self.signatures, self.receipts) if folder is not None]


@dataclass(slots=True, kw_only=True)
class Report:
    """Output and exit code of ``sign``: a line per outcome, files of signature and receipt where asked for, counts.

    A missing receipt is told, and is no failure of its signature. The first errors are also told on stderr, unless the lines themselves go to a terminal.
    """

    key: str
    algorithm: Algorithm
    raw: bool
    folders: Folders
    progress: Progress
    without_receipt: int = 0
    tally: Tally = field(default_factory=Tally)

    def add(self, item: Item, outcome: Outcome) -> None:
        """Print and count the outcome of this item; raises ``OutputUnwritable``."""
        line: SignedLine | FailedLine
        if isinstance(outcome, Signature):
            receipt, error = self._write_files(item, outcome)
            line = signed_line(item, outcome, raw=self.raw, error=error, receipt=receipt)
            self._tell_missing(item, outcome.receipt_missing)
        else:
            error = item.error or outcome
            line = failed_line(item, error, algorithm=self.algorithm, key=self.key)
        self.progress.clear()
        emit(line)
        if error is not None and self.tally.bad < _SHOWN_ERRORS and not stdout_is_terminal():
            print_message(f"{item.shown_name}: {error.message} [{error.reason}]")
        self.tally.add(error)
        self.progress.count(ok=error is None)

    def finish(self, elapsed_s: float) -> Exit:
        """Print the counts and return the exit code."""
        self.progress.clear()
        total = self.tally.done + self.tally.bad
        failed = f", {self.tally.bad} failed" if self.tally.bad else ""
        print_message(f"{self.tally.done} of {total} signed in {elapsed_s:.1f} s{failed}")
        if self.without_receipt:
            without = self.without_receipt
            have = agreed(without, "has", "have")
            print_message(f"{counted(without, 'signature')} {have} no receipt [{ReceiptMissing.reason}]")
        return self.tally.exit_code()

    def _write_files(self, item: Item, signature: Signature) -> tuple[Path | None, SigningError | None]:
        """Write signature and receipt; returns the receipt's path, and the error of a file that cannot be written."""
        path = None
        try:
            if self.folders.signatures is not None:
                made = signature.raw() if self.raw else signature.signature
                self.folders.signatures.write(item.name, made)
            if self.folders.receipts is not None and signature.receipt is not None:
                path = self.folders.receipts.write(item.name, signature.receipt)
        except SigningError as error:
            return None, error
        return path, None

    def _tell_missing(self, item: Item, missing: SigningError | None) -> None:
        if missing is None:
            return
        if self.without_receipt < _SHOWN_ERRORS and not stdout_is_terminal():
            self.progress.clear()
            print_message(f"{item.shown_name}: {missing.message} [{missing.reason}]")
        self.without_receipt += 1


@click.command()
@signing_options
@click.option("--raw", is_flag=True, help="Print ECDSA signatures as r || s instead of DER.")
@click.option(
    "--out-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write each signature to DIR/NAME.sig. Items whose files would be the same are refused.",
)
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Ask for a receipt of each signature, and write it to DIR/NAME.tlog-proof. It comes a second or two later; the"
    " signature is printed without it after `receipt_timeout_s` of client.toml.",
)
def sign(
    *, raw: bool, out_dir: Path | None, receipts: Path | None, **arguments: Unpack[SigningArguments]
) -> Exit:
    """Sign FILES, digests or a manifest.

    Prints one JSON object per line, in input order: name, digest, algorithm, key, key_version,
    public_key_sha256 (hex), signature (base64), job_id; or error. A rerun with the same request id collects
    the signatures of the first run. A name that is not UTF-8 is also in name_bytes (base64). With --receipts a line has
    receipt (the file), or receipt_missing (why): that is no failure, and a rerun collects what came later.
    """
    options = SigningOptions.from_arguments(arguments, waits=True)
    folders = Folders(
        signatures=None if out_dir is None else signatures_in(out_dir),
        receipts=None if receipts is None else receipts_in(receipts),
    )
    if folders.all():
        options = replace(options, inputs=options.inputs.read_ahead())
        for folder in folders.all():
            folder.refuse_equal_paths(options.inputs.names())
            folder.sweep(options.inputs.names())
    return run_stoppable(_sign(options, raw=raw, folders=folders), options)


async def _sign(options: SigningOptions, *, raw: bool, folders: Folders) -> Exit:
    meter = HashMeter()
    progress = Progress(options.inputs.count())
    async with options.client as client:
        algorithm = await options.resolved_algorithm()
        report = Report(key=options.key, algorithm=algorithm, raw=raw, folders=folders, progress=progress)
        in_flight: deque[Item] = deque()
        digests = _digests(options.inputs.read(algorithm, meter), in_flight, folders)
        outcomes = client.sign_many(
            options.key,
            digests,
            algorithm,
            options.request_id,
            priority=options.priority,
            timeout_s=options.deadline_s,
            receipts=folders.receipts is not None,
        )
        async with (
            contextlib.aclosing(digests),
            contextlib.aclosing(outcomes),
            wait_notes(client, progress, meter),
        ):
            async for outcome in outcomes:
                try:
                    report.add(in_flight.popleft(), outcome)
                except OutputUnwritable as error:
                    raise _unprinted(error, report, options.request_id) from error
    return report.finish(progress.elapsed_s)


def _unprinted(error: OutputUnwritable, report: Report, request_id: str) -> OutputUnwritable:
    done = report.tally.done + report.tally.bad
    return OutputUnwritable(
        f"{error.message}; {counted(done, 'line')} {agreed(done, 'was', 'were')} printed before. Rerun with --request-id {request_id} to get the signatures that"
        " were made"
    )


async def _digests(
    items: AsyncIterator[Item], in_flight: deque[Item], folders: Folders
) -> AsyncGenerator[bytes, None]:
    """Digests of the items, which are kept in ``in_flight`` until their outcomes arrive.

    An item without a valid digest is passed on as None: the client refuses that in the item's place. So is one
    whose name cannot be a file of ``folders``.
    """
    async for item in items:
        checked = _with_path(item, folders)
        in_flight.append(checked)
        yield checked.digest if checked.digest is not None and checked.error is None else _NO_DIGEST


def _with_path(item: Item, folders: Folders) -> Item:
    if item.error is None:
        try:
            for folder in folders.all():
                folder.path(item.name)
        except InputUnreadable as error:
            return replace(item, error=error)
    return item
