"""Output of commands: data and tables on stdout, messages and errors on stderr, exit codes.

Exit codes: 0 if all succeeded; 77 if anything was denied; else 1 if anything failed for good; else 75 if something
should be retried. 2 is a usage error or a mistake in a configuration file.
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
    INTERRUPTED = 130  # 128 + SIGINT, as in shells


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """An error in JSON."""

    code: str
    message: str
    retryable: bool
    retry_after_s: float | None
    hint: str | None = None

    @classmethod
    def of(cls, error: SigningError) -> ErrorObject:
        """Make the object of a ``SigningError``."""
        return cls(
            code=error.reason,
            message=error.message,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
            hint=error.hint,
        )

    @classmethod
    def final(cls, code: str, message: str, hint: str) -> ErrorObject:
        """Make the object of an error without retry that is not the service's: usage, configuration."""
        return cls(code=code, message=message, retryable=False, retry_after_s=None, hint=hint)


@dataclass(slots=True)
class Tally:
    """Counts of outcomes, and the exit code that follows from them."""

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
        """Number of outcomes that are no success."""
        return self.denied + self.failed + self.retryable

    def exit_code(self) -> Exit:
        """Exit code of all counted outcomes."""
        if self.denied:
            return Exit.DENIED
        if self.failed:
            return Exit.FAILED
        return Exit.RETRY if self.retryable else Exit.DONE


@dataclass(slots=True)
class Output:
    """Output options of the running command, click's context object; ``--json`` sets ``as_json``."""

    as_json: bool = False


def emit(line: msgspec.Struct) -> None:
    """Write one JSON object as a line to stdout and flush it, so that a reader gets it even if we are killed."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def print_message(text: str) -> None:
    """Print a message for people, on stderr."""
    click.echo(text, err=True)


def print_error(error: ErrorObject, *, as_json: bool) -> None:
    """Print the error that ends a command: two lines on stderr, or one JSON line on stdout."""
    if as_json:
        sys.stdout.write(msgspec.json.encode({"error": error}).decode() + "\n")
        sys.stdout.flush()
        return
    print_message(f"error: {error.message} [{error.code}]")
    if error.hint:
        print_message(f"hint: {error.hint}")


def error_object(error: SigningError | ConfigError) -> ErrorObject:
    """Make the object of an error that ends a command."""
    if isinstance(error, SigningError):
        return ErrorObject.of(error)
    return ErrorObject.final("config.invalid", str(error), error.remedy)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; None and empty values are shown as a dash."""
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
