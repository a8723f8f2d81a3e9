"""``sigmill sign``: one JSON line per item, in input order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import click

from queueing.aio.runner import run
from queueing.client.signatures import Outcome, Signature
from queueing.errors import InputUnreadable, SigningError
from queueing.protocol.algorithms import Algorithm
from workers.cli.shell.output import Exit, Tally, emit, say
from workers.cli.shell.progress import Progress
from workers.cli.signing.inputs import Item
from workers.cli.signing.json_lines import failed_line, signed_line
from workers.cli.signing.out_dir import write_signature
from workers.cli.signing.request_options import SigningOptions, ask_options

_NO_DIGEST: Final = cast("bytes", None)


@dataclass(slots=True, kw_only=True)
class Report:
    """Prints an outcome as its line, and counts it."""

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
        """Say what became of all, and give the exit code."""
        self.progress.clear()
        total = self.tally.done + self.tally.bad
        failed = f", {self.tally.bad} failed" if self.tally.bad else ""
        say(f"{self.tally.done} of {total} signed in {elapsed_s:.1f} s{failed}")
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
@ask_options
@click.option("--raw", is_flag=True, help="ECDSA signatures as r || s instead of DER.")
@click.option(
    "--out-dir", type=click.Path(path_type=Path, file_okay=False), help="Also write each to DIR/NAME.sig."
)
def sign(*, raw: bool, out_dir: Path | None, **asked: Any) -> Exit:
    """Sign FILES, digests or a manifest.

    Prints one JSON object per line, in input order: name, digest, algorithm, key, key_version,
    public_key_sha256 (hex), signature (base64), job_id; or error. A run that is started again under the same
    request id gets back what is done.
    """
    return run(_sign(SigningOptions.of(**asked), raw=raw, out_dir=out_dir))


async def _sign(ask: SigningOptions, *, raw: bool, out_dir: Path | None) -> Exit:
    progress = Progress(ask.inputs.count())
    async with ask.client as client:
        algorithm = await ask.resolved_algorithm()
        report = Report(key=ask.key, algorithm=algorithm, raw=raw, out_dir=out_dir, progress=progress)
        under_way: deque[Item] = deque()
        digests = _digests(ask.inputs.read(algorithm), under_way)
        outcomes = client.sign_many(
            ask.key,
            digests,
            algorithm,
            ask.request_id,
            priority=ask.priority,
            timeout_s=ask.deadline_s,
        )
        async with contextlib.aclosing(digests), contextlib.aclosing(outcomes):
            async for outcome in outcomes:
                report.add(under_way.popleft(), outcome)
    return report.finish(progress.elapsed_s)


async def _digests(items: AsyncIterator[Item], under_way: deque[Item]) -> AsyncGenerator[bytes, None]:
    """The digests of the items, which are kept until their outcomes come.

    An item without a good digest travels as what is no digest at all: refused here, in its place.
    """
    async for item in items:
        under_way.append(item)
        yield item.digest if item.digest is not None and item.error is None else _NO_DIGEST
