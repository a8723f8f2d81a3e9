"""Every way in which a command ends has its exit code and its message."""

from __future__ import annotations

import errno
import json
import logging

import click
import pytest

from queueing.errors import ConfigError, KeyUnknown, QueueUnavailable
from workers.cli.main import main, sigmill
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit

pytestmark = pytest.mark.usefixtures("unchanged_logging")


def ends_with(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """Make `sigmill explain` end with this error."""

    @click.command()
    @json_option
    def command() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(sigmill, "get_command", lambda *_: command)


@pytest.mark.parametrize(
    "error, code, message",
    [
        (None, Exit.DONE, ""),
        (click.UsageError("no such thing"), Exit.USAGE, "error: no such thing [usage]"),
        (ConfigError("f", "k", "is wrong", "Correct it."), Exit.USAGE, "hint: Correct it."),
        (KeyUnknown("no such key"), Exit.DENIED, "error: no such key [key.unknown]"),
        (QueueUnavailable("no Redis"), Exit.RETRY, "error: no Redis [queue.unavailable]"),
        (
            PermissionError(13, "Permission denied", "/etc/x"),
            Exit.FAILED,
            "error: /etc/x: Permission denied [file.unusable]",
        ),
        (
            FileExistsError(17, "File exists", b"/a\xff"),
            Exit.FAILED,
            r"error: /a\udcff: File exists [file.unusable]",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            Exit.FAILED,
            "error: no further file or connection can be opened: Too many open files [descriptors.exhausted]",
        ),
        (
            OSError(errno.ENFILE, "Too many open files in system", "/etc/x"),
            Exit.FAILED,
            "hint: Raise the limit of open files",
        ),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted: the command has ended before it was done\n"),
    ],
)
def test_exit_codes_and_messages(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    code: Exit,
    message: str,
) -> None:
    """Usage and configuration end with 2, denials with 77, errors worth a retry with 75, a file that cannot be used with 1, Ctrl-C with 130."""
    ends_with(monkeypatch, error)
    assert main(["explain"]) == code
    err = capsys.readouterr().err
    assert message in err
    assert bool(err) is bool(message)


def test_errors_are_json_with_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json the error is one object on stdout."""
    ends_with(monkeypatch, KeyUnknown("no such key"))
    assert main(["explain", "--json"]) == Exit.DENIED
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "key.unknown"


def test_warnings_of_the_package_are_notes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log events from WARNING up are printed on stderr, one line each; others are not."""
    ends_with(monkeypatch, None)
    main(["explain"])
    logging.getLogger("sigmill.client").warning("client.reconnected")
    logging.getLogger("sigmill.client").info("client.connected")
    assert capsys.readouterr().err == "note: client.reconnected\n"


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also below a group."""
    assert main(["sing"]) == main(["keys", "lst"]) == Exit.USAGE
    err = capsys.readouterr().err
    assert "no such command `sing`. Did you mean `sign`?" in err
    assert "no such command `lst`. Did you mean `list`?" in err
