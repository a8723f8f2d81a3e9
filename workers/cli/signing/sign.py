"""``sigmill sign``: prints one JSON line per item, in input order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Unpack, cast

import click

from queueing.aio.runner import run
from queueing.client.signatures import Outcome, Signature
from queueing.errors import InputUnreadable, SigningError
from queueing.protocol.algorithms import Algorithm
from workers.cli.shell.output import Exit, Tally, emit, print_message
from workers.cli.shell.progress import Progress
from workers.cli.signing.inputs import Item
from workers.cli.signing.json_lines import failed_line, signed_line
from workers.cli.signing.out_dir import write_signature
from workers.cli.signing.request_options import SigningArguments, SigningOptions, signing_options

_NO_DIGEST: Final = cast("bytes", None)


@dataclass(slots=True, kw_only=True)
class Report:
    """Output and exit code of ``sign``: a line per outcome, a signature file where asked for, counts."""

    key: str
    algorithm: Algorithm
    raw: bool
    out_dir: Path | None
    progress: Progress
    tally: Tally = field(default_factory=Tally)

    def add(self, item: Item, outcome: Outcome) -> None:
        """Print and count the outcome of this item."""
        if isinstance(outcome, Signature):
            outcome = self._written(item, outcome)
        self.progress.clear()
        if isinstance(outcome, Signature):
            emit(signed_line(item, outcome, raw=self.raw))
            error = None
        else:
            error = item.error or outcome
            emit(failed_line(item, error, algorithm=self.algorithm, key=self.key))
        self.tally.add(error)
        self.progress.count(ok=error is None)

    def finish(self, elapsed_s: float) -> Exit:
        """Print the counts and return the exit code."""
        self.progress.clear()
        total = self.tally.done + self.tally.bad
        failed = f", {self.tally.bad} failed" if self.tally.bad else ""
        print_message(f"{self.tally.done} of {total} signed in {elapsed_s:.1f} s{failed}")
        return self.tally.exit_code()

    def _written(self, item: Item, signature: Signature) -> Outcome:
        if self.out_dir is None:
            return signature
        try:
            write_signature(self.out_dir, item.name, signature.raw() if self.raw else signature.signature)
        except SigningError as error:
            return error
        except OSError as error:
            return InputUnreadable(f"the signature cannot be written: {error.strerror}")
        return signature


@click.command()
@signing_options
@click.option("--raw", is_flag=True, help="Print ECDSA signatures as r || s instead of DER.")
@click.option(
    "--out-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write each signature to DIR/NAME.sig.",
)
def sign(*, raw: bool, out_dir: Path | None, **arguments: Unpack[SigningArguments]) -> Exit:
    """Sign FILES, digests or a manifest.

    Prints one JSON object per line, in input order: name, digest, algorithm, key, key_version,
    public_key_sha256 (hex), signature (base64), job_id; or error. A rerun with the same request id collects
    the signatures of the first run.
    """
    return run(_sign(SigningOptions.from_arguments(arguments), raw=raw, out_dir=out_dir))


async def _sign(options: SigningOptions, *, raw: bool, out_dir: Path | None) -> Exit:
    progress = Progress(options.inputs.count())
    async with options.client as client:
        algorithm = await options.resolved_algorithm()
        report = Report(key=options.key, algorithm=algorithm, raw=raw, out_dir=out_dir, progress=progress)
        in_flight: deque[Item] = deque()
        digests = _digests(options.inputs.read(algorithm), in_flight)
        outcomes = client.sign_many(
            options.key,
            digests,
            algorithm,
            options.request_id,
            priority=options.priority,
            timeout_s=options.deadline_s,
        )
        async with contextlib.aclosing(digests), contextlib.aclosing(outcomes):
            async for outcome in outcomes:
                report.add(in_flight.popleft(), outcome)
    return report.finish(progress.elapsed_s)


async def _digests(items: AsyncIterator[Item], in_flight: deque[Item]) -> AsyncGenerator[bytes, None]:
    """Digests of the items, which are kept in ``in_flight`` until their outcomes arrive.

    An item without a valid digest is passed on as None: the client refuses that in the item's place.
    """
    async for item in items:
        in_flight.append(item)
        yield item.digest if item.digest is not None and item.error is None else _NO_DIGEST
