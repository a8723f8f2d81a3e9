"""Report of ``sigmill sign-file``: one line for each file, in input order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from queueing.artifacts.batch import FileOutcome
from queueing.errors.counts import agreed, counted
from workers.cli.shell.output import ErrorObject, Exit, Tally, emit, print_line, print_message
from workers.cli.shell.progress import Progress
from workers.cli.signing.items import Item


class FileLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Outcome of one file. ``outcome``: ``signed``, ``unchanged`` (it was signed so before) or ``failed``.

    ``name_bytes``: all bytes of a name that is not UTF-8, in base64. ``output``: the file that was written, if it has another
    name. ``key``: KEY/VERSION. ``time_stamp``: the time in it, UTC; ``time_stamp_error``: an optional one could not be had.
    """

    name: str
    name_bytes: str = ""
    outcome: str
    format: str = ""
    output: str = ""
    key: str
    algorithm: str
    job_id: str = ""
    time_stamp: datetime | None = None
    time_stamp_error: ErrorObject | None = None
    error: ErrorObject | None = None


@dataclass(slots=True, kw_only=True)
class FileReport:
    """Output and exit code (``queueing.artifacts.batch.OutcomeSink``): with ``as_json`` JSON lines, else text."""

    key: str
    algorithm: str
    as_json: bool
    progress: Progress
    tally: Tally = field(default_factory=Tally)
    unchanged: int = 0

    def add(self, outcome: FileOutcome) -> None:
        """Print and count one outcome; raises ``OutputUnwritable``."""
        line = self._line(outcome)
        self.progress.clear()
        if self.as_json:
            emit(line)
        elif outcome.error is None:
            output = f" -> {line.output}" if line.output else ""
            print_line(f"{line.outcome:<10}{line.name}{output}")
            if outcome.unstamped is not None:
                print_message(f"note: {line.name}: {outcome.unstamped.message} [{outcome.unstamped.reason}]")
        else:
            print_message(f"error: {line.name}: {outcome.error.message} [{outcome.error.reason}]")
            print_message(f"hint: {outcome.error.hint}")
        self.tally.add(outcome.error)
        self.unchanged += line.outcome == "unchanged"
        self.progress.count(ok=outcome.error is None)

    def finish(self) -> Exit:
        """Print the counts and return the exit code."""
        self.progress.clear()
        total = self.tally.done + self.tally.bad
        parts = [
            f"{self.tally.done - self.unchanged} of {counted(total, 'file')} signed in {self.progress.elapsed_s:.1f} s"
        ]
        if self.unchanged:
            parts.append(f"{self.unchanged} {agreed(self.unchanged, 'was', 'were')} signed before")
        if self.tally.bad:
            parts.append(
                f"{self.tally.bad} failed and {agreed(self.tally.bad, 'is as it was', 'are as they were')}"
            )
        print_message(", ".join(parts))
        return self.tally.exit_code()

    def _line(self, outcome: FileOutcome) -> FileLine:
        item, error = Item(name=str(outcome.artifact.path)), outcome.error
        target = outcome.artifact.target.path
        word = "failed" if error is not None else "signed" if outcome.signature is not None else "unchanged"
        return FileLine(
            name=item.shown_name,
            name_bytes=item.name_bytes,
            outcome=word,
            format=outcome.format or "",
            output="" if target == outcome.artifact.path else Item(name=str(target)).shown_name,
            key=self.key,
            algorithm=self.algorithm,
            job_id="" if outcome.signature is None else outcome.signature.job_id,
            time_stamp=None if outcome.stamp is None else outcome.stamp.at,
            time_stamp_error=None if outcome.unstamped is None else ErrorObject.of(outcome.unstamped),
            error=None if error is None else ErrorObject.of(error),
        )
