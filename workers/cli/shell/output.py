"""Output of commands: data and tables on stdout, messages and errors on stderr, exit codes.

Exit codes: 0 if all succeeded; 77 if anything was denied; else 1 if anything failed permanently; else 75 if something
should be retried. 2 is a usage error or a mistake in a configuration file.

Text comes from others too: job ids, dead letters, workers' reports, names of files. Everything for people goes through
``printable``, so that no control or escape character of it reaches a terminal. JSON keeps every character: what is not
printable is written as JSON's own escape.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TextIO

import msgspec

from queueing.errors import ConfigError, OutputUnwritable, SigningError

_BACKSLASH: Final = ord("\\")


class Exit(IntEnum):
    """Exit codes. 75 and 77 are EX_TEMPFAIL and EX_NOPERM of sysexits.h."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    RETRY = 75
    DENIED = 77
    INTERRUPTED = 130  # 128 + SIGINT, as in shells
    TERMINATED = 143  # 128 + SIGTERM


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


def printable(text: str) -> str:
    """The text in one line, safe for a terminal: each control, escape, format or unpaired character by its escape (ESC: backslash x1b).

    So also line breaks, and what turns the direction of writing. Text without such characters comes back as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


NO_ID: Final = "\\-"
"""Name of the empty id; no other id has it."""


def name_of(raw_id: bytes) -> str:
    """Name of an id that may have any bytes: one for each id, without spaces, so that a command that shows it also takes it.

    Visible ASCII stands for itself, a backslash is doubled, and any other byte is an escape (ESC: backslash x1b). The empty id is
    ``NO_ID``.
    """
    return (
        NO_ID
        if not raw_id
        else "".join(
            "\\\\" if byte == _BACKSLASH else chr(byte) if 0x20 < byte < 0x7F else f"\\x{byte:02x}"
            for byte in raw_id
        )
    )


def emit(line: msgspec.Struct) -> None:
    """Write one JSON object as a line to stdout and flush it, so that a reader gets it even if we are killed.

    A byte of a file's name that is not UTF-8 is a lone surrogate, which JSON cannot hold: its escape is written (backslash, udc, two hex digits).
    Raises ``OutputUnwritable``.
    """
    try:
        encoded = msgspec.json.encode(line)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_without_surrogates(msgspec.to_builtins(line)))
    _write_json(encoded)


def print_line(text: str = "") -> None:
    """Print one line of data for people on stdout; raises ``OutputUnwritable``."""
    with _output_errors():
        _write_line(sys.stdout, printable(text))


def print_block(text: str) -> None:
    """Print lines on stdout, each as ``print_line``: for text whose line breaks are our own."""
    for line in text.removesuffix("\n").split("\n"):
        print_line(line)


def print_difference(difference: str, *, written: str | None) -> None:
    """Print the difference of a file, and whether it was ``written`` there; None for a dry run."""
    print_block(difference)
    if written is None:
        print_message("nothing was written (--dry-run)")
    else:
        print_message(f"written to {written}; run `sigmill tenants reload` to use it")


def print_bytes(raw: bytes) -> None:
    """Write bytes to stdout, as they are; raises ``OutputUnwritable``."""
    with _output_errors():
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()


def print_message(text: str) -> None:
    """Print a message of one line for people, on stderr. If stderr cannot be written, the message is dropped."""
    with contextlib.suppress(OSError, ValueError):
        _write_line(sys.stderr, printable(text))


def print_error(error: ErrorObject, *, as_json: bool) -> None:
    """Print the error that ends a command: two lines on stderr, or one JSON line on stdout."""
    if as_json:
        # A file name that is not UTF-8 is in the message as lone surrogates, which JSON cannot hold.
        message = _without_surrogates(error.message)
        _write_json(msgspec.json.encode({"error": msgspec.structs.replace(error, message=message)}))
        return
    print_message(f"error: {error.message} [{error.code}]")
    if error.hint:
        print_message(f"hint: {error.hint}")


def stdout_is_terminal() -> bool:
    """Whether a person sees what goes to stdout."""
    return sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Whether a person sees what goes to stderr: waits, and errors."""
    return sys.stderr.isatty()


def discard_stdout() -> None:
    """Send to /dev/null what is still to be flushed, where stdout cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _without_surrogates(value: object) -> Any:
    """Copy of a plain value, with each lone surrogate in its texts by its escape."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _without_surrogates(each) for key, each in value.items()}
        case list() | tuple():
            return [_without_surrogates(each) for each in value]
    return value


def _write_json(raw: bytes) -> None:
    """Write a line of JSON as UTF-8, whatever the locale."""
    with _output_errors():
        sys.stdout.flush()
        sys.stdout.buffer.write(_escaped(raw) + b"\n")
        sys.stdout.buffer.flush()


def _escaped(raw: bytes) -> bytes:
    """JSON that a terminal can show: msgspec escapes ASCII control characters, but not DEL and those above."""
    if raw.isascii() and b"\x7f" not in raw:
        return raw
    text = raw.decode()
    if text.isprintable():
        return raw
    return "".join(char if char.isprintable() else _json_escape(char) for char in text).encode()


def _json_escape(char: str) -> str:
    """Escape of a character in JSON; two units above U+FFFF."""
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _write_line(stream: TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputUnwritable("stdout was closed by its reader") from None
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        raise OutputUnwritable(f"stdout cannot be written: {reason}") from None


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
        print_line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is True:
        return "yes"
    if value is False:
        return "no"
    return "-" if value is None or value == "" else printable(str(value))
