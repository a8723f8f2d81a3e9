"""Entry point ``main``: runs a command and turns exceptions into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from queueing.aio.runner import is_end_held_up
from queueing.errors import ConfigError, OutputUnwritable, SigningError
from queueing.files.standard_streams import open_standard_streams
from workers.cli.commands import COMMANDS, LazyGroup
from workers.cli.shell.interrupts import Stopped
from workers.cli.shell.output import (
    ErrorObject,
    Exit,
    Output,
    Tally,
    discard_stdout,
    error_object,
    print_error,
    print_message,
    printable,
)

EXTRAS: Final = {"pkcs11": "worker", "prometheus_client": "worker", "aiohttp": "edge", "jwt": "issuer"}
"""Packages of the extras of the distribution: a build host with Redis has none of them."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
)
@click.version_option(package_name="sigmill", prog_name="sigmill")
def sigmill() -> None:
    """Sign digests on PKCS#11 HSMs through a queue."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``sigmill``; return the exit code."""
    output = Output()
    open_standard_streams()
    _log_to_stderr()
    try:
        code = _run(arguments, output)
    except OutputUnwritable as error:
        # Not as JSON either: its place is the stdout that cannot be written.
        print_error(error_object(error), as_json=False)
        code = Exit.FAILED
        discard_stdout()
    if is_end_held_up():
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the process without the wait for look-ups of names that the resolver does not answer. What was printed is written."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # what could be told of it has been
            stream.flush()
    os._exit(code)


def _run(arguments: Sequence[str] | None, output: Output) -> int:
    try:
        code = sigmill.main(args=arguments, prog_name="sigmill", standalone_mode=False, obj=output)
        return code if isinstance(code, int) else Exit.DONE
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            print_message(line)
        return Exit.USAGE
    except click.ClickException as error:
        print_error(_usage(error), as_json=output.as_json)
        return Exit.USAGE
    except ConfigError as error:
        print_error(error_object(error), as_json=output.as_json)
        return Exit.USAGE
    except OutputUnwritable:
        raise
    except SigningError as error:
        print_error(error_object(error), as_json=output.as_json)
        tally = Tally()
        tally.add(error)
        return tally.exit_code()
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if error.name is None or extra is None:
            raise
        print_error(_not_installed(error.name, extra), as_json=output.as_json)
        return Exit.USAGE
    except (OSError, UnicodeEncodeError, Stopped, KeyboardInterrupt, click.Abort) as error:
        return _stopped_by(error, output)


def _stopped_by(error: BaseException, output: Output) -> int:
    """Exit code after an error of a stream or a file, or an interruption; one of the system that names no file is raised again."""
    match error:
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            print_error(_out_of_descriptors(error), as_json=output.as_json)
            return Exit.FAILED
        case OSError(filename=str() | bytes() as name):
            print_error(_unusable(os.fsdecode(name), error), as_json=output.as_json)
            return Exit.FAILED
        case OSError():
            if error.errno not in (errno.ENOSPC, errno.EPIPE):
                raise error
            raise OutputUnwritable(
                f"stdout cannot be written: {error.strerror}"
            ) from error  # click's help pages
        case Stopped():
            return error.exit_code
        case UnicodeEncodeError():
            print_error(_usage(click.UsageError(f"not UTF-8: {error.object}")), as_json=output.as_json)
            return Exit.USAGE
    print_message(
        "interrupted: the command has ended before it was done"
    )  # those that wait for jobs are `Stopped`
    return Exit.INTERRUPTED


def _not_installed(package: str, extra: str) -> ErrorObject:
    return ErrorObject.final(
        "install.incomplete",
        f"this command needs the Python package `{package}`, which is not installed",
        f"Install the dependencies of this part: pip install 'sigmill[{extra}]'.",
    )


def _out_of_descriptors(error: OSError) -> ErrorObject:
    return ErrorObject.final(
        "descriptors.exhausted",
        f"no further file or connection can be opened: {error.strerror}",
        "Raise the limit of open files: `ulimit -n`, or LimitNOFILE= of the unit.",
    )


def _unusable(name: str, error: OSError) -> ErrorObject:
    return ErrorObject.final(
        "file.unusable",
        f"{name}: {error.strerror or type(error).__name__}",
        "Correct the path, or its owner, mode or space; then run the command again.",
    )


def _usage(error: click.ClickException) -> ErrorObject:
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "sigmill"
    return ErrorObject.final("usage", " ".join(error.format_message().split()), f"Try `{command} --help`.")


class _SafeFormatter(logging.Formatter):
    """One line, safe for a terminal: events name what Redis and others said."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_to_stderr() -> None:
    """Print log events from WARNING up on stderr, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SafeFormatter("note: %(message)s"))
    logger = logging.getLogger("sigmill")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
