"""What is printed, and where: data on stdout, talk on stderr; errors as ``error:`` and ``hint:``.

Exit codes: 0 all done; 77 if anything was denied; else 1 if anything failed for good; else 75 if something
should be tried again; 2 usage, which a mistake in a configuration file is too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import click
import msgspec

from queueing.errors import ConfigError, SigningError


class Exit(IntEnum):
    """Exit codes (design, Contracts). 75 and 77 are EX_TEMPFAIL and EX_NOPERM of sysexits.h."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    RETRY = 75
    DENIED = 77
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """An error in JSON."""

    code: str
    message: str
    retryable: bool
    retry_after_s: float | None
    hint: str | None = None

    @classmethod
    def of(cls, error: SigningError) -> ErrorObject:
        """The object of this error."""
        return cls(
            code=error.reason,
            message=error.message,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
            hint=error.hint,
        )

    @classmethod
    def final(cls, code: str, message: str, hint: str) -> ErrorObject:
        """One that does not come from the service: usage, configuration."""
        return cls(code=code, message=message, retryable=False, retry_after_s=None, hint=hint)


@dataclass(slots=True)
class Tally:
    """Counts outcomes and knows the exit code."""

    done: int = 0
    denied: int = 0
    failed: int = 0
    retryable: int = 0

    def add(self, error: SigningError | None) -> None:
        """Count one outcome; None is a success."""
        if error is None:
            self.done += 1
        elif error.denied:
            self.denied += 1
        elif error.retryable:
            self.retryable += 1
        else:
            self.failed += 1

    @property
    def bad(self) -> int:
        """All that are not done."""
        return self.denied + self.failed + self.retryable

    def exit_code(self) -> Exit:
        """The code for all that was counted."""
        if self.denied:
            return Exit.DENIED
        if self.failed:
            return Exit.FAILED
        return Exit.RETRY if self.retryable else Exit.DONE


@dataclass(slots=True)
class Output:
    """The context's object; ``as_json`` is set by ``--json``."""

    as_json: bool = False


def emit(line: msgspec.Struct) -> None:
    """One JSON object and a newline to stdout, at once: whoever reads along loses nothing by a kill."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Talk to the person, on stderr."""
    click.echo(text, err=True)


def complain(error: ErrorObject, *, as_json: bool) -> None:
    """The error that ends a command: two lines on stderr, or one JSON line on stdout."""
    if as_json:
        sys.stdout.write(msgspec.json.encode({"error": error}).decode() + "\n")
        sys.stdout.flush()
        return
    say(f"error: {error.message} [{error.code}]")
    if error.hint:
        say(f"hint: {error.hint}")


def error_object(error: SigningError | ConfigError) -> ErrorObject:
    """The object of any error that a command may end with."""
    if isinstance(error, SigningError):
        return ErrorObject.of(error)
    return ErrorObject.final("config.invalid", str(error), error.remedy)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print the rows under their heads, on stdout; a value that is None or empty is a dash."""
    texts = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(head))]
    for row in texts:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is True:
        return "yes"
    if value is False:
        return "no"
    return "-" if value is None or value == "" else str(value)
