"""Exit codes, tables and errors as people and programs read them."""

from __future__ import annotations

import errno
import io
import json
import re
from pathlib import Path

import pytest

import workers.cli
from queueing.errors import (
    ConfigError,
    KeyUnknown,
    LimitRate,
    OutputUnwritable,
    ResultInvalid,
    SigningError,
)
from workers.cli.shell.output import (
    ErrorObject,
    Exit,
    Tally,
    emit,
    error_object,
    print_error,
    print_line,
    print_message,
    print_table,
    printable,
)


@pytest.mark.parametrize(
    "errors, code",
    [
        ([None], Exit.DONE),
        ([None, LimitRate()], Exit.RETRY),
        ([LimitRate(), ResultInvalid()], Exit.FAILED),
        ([LimitRate(), ResultInvalid(), KeyUnknown()], Exit.DENIED),
        ([], Exit.DONE),
    ],
)
def test_exit_codes(errors: list[SigningError | None], code: Exit) -> None:
    """77 if anything was denied, else 1 if an error is not worth a retry, else 75, else 0."""
    tally = Tally()
    for error in errors:
        tally.add(error)
    assert tally.exit_code() is code


def test_a_tally_counts_what_is_not_done() -> None:
    """Every error is counted as bad, of whatever kind it is."""
    tally = Tally()
    for error in (None, LimitRate(), ResultInvalid(), KeyUnknown()):
        tally.add(error)
    assert (tally.done, tally.bad) == (1, 3)


def test_a_table_aligns_its_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as their widest cell; None and empty text are a dash, booleans yes and no."""
    print_table(("NAME", "UP", "NOTE"), [("a", True, None), ("longer", False, "")])
    assert capsys.readouterr().out.splitlines() == ["NAME    UP   NOTE", "a       yes  -", "longer  no   -"]


def test_an_error_for_people_has_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """Message with its code, then the hint, both on stderr."""
    print_error(ErrorObject.final("usage", "no such option", "Try --help."), as_json=False)
    assert capsys.readouterr() == ("", "error: no such option [usage]\nhint: Try --help.\n")


def test_an_error_for_programs_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """One object on stdout, nothing on stderr."""
    print_error(error_object(LimitRate(retry_after_s=2.5)), as_json=True)
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (error["code"], error["retryable"], error["retry_after_s"]) == ("limit.rate", True, 2.5)
    assert err == ""


def test_a_mistake_in_a_file_has_its_remedy_as_hint() -> None:
    """Configuration mistakes share one code, and a retry does not help."""
    error = error_object(ConfigError("sigmill.toml", "redis.port", "is no port", "Write a number."))
    assert (error.code, error.retryable, error.hint) == ("config.invalid", False, "Write a number.")
    assert "redis.port" in error.message


FOREIGN = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202e\ud800\n\rend"


def test_text_of_others_cannot_steer_a_terminal() -> None:
    """Escapes, C1 controls, DEL, changes of direction, lone surrogates and line breaks come out as visible escapes."""
    shown = printable(FOREIGN)
    assert shown == r"\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202e\ud800\n\rend"
    assert printable("Zoë \U0001f600 ~") == "Zoë \U0001f600 ~"


def test_every_way_to_print_makes_text_safe(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, lines, messages and errors."""
    print_table(("NAME",), [(FOREIGN,)])
    print_line(FOREIGN)
    print_message(FOREIGN)
    print_error(ErrorObject.final("usage", FOREIGN, FOREIGN), as_json=False)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(err.splitlines()) == 3
    assert all(line.isprintable() for line in (*out.splitlines(), *err.splitlines()))


def test_json_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    """Characters that a terminal would obey are escaped, and read back as they were."""
    text = FOREIGN.replace("\ud800", "\U000e0001")
    emit(ErrorObject.final("usage", text, "é"))
    out = capsys.readouterr().out
    assert out.removesuffix("\n").isprintable()
    assert json.loads(out)["message"] == text
    assert "é" in out


class FullDisk(io.TextIOWrapper):
    """Standard output on a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self._error = error

    def flush(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error, message",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "closed by its reader"),
    ],
)
def test_output_that_cannot_be_written_is_an_error(
    monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    """Lines and JSON alike raise one error of our own, which names the reason."""
    monkeypatch.setattr("sys.stdout", FullDisk(error))
    with pytest.raises(OutputUnwritable, match=message):
        print_line("x")
    with pytest.raises(OutputUnwritable, match=message):
        emit(ErrorObject.final("usage", "x", ""))


def test_commands_print_through_one_module() -> None:
    """Only the progress line, `top` and main write as well: no command can forget to make text safe."""
    folder = Path(workers.cli.__file__).parent
    allowed = {"shell/output.py", "shell/progress.py", "status/top.py", "main.py"}
    writing = re.compile(r"\bprint\(|\becho\(|\bsecho\(|sys\.std(?:out|err)\b")
    found = {
        str(file.relative_to(folder)) for file in folder.rglob("*.py") if writing.search(file.read_text())
    }
    assert found == allowed


def test_an_error_that_names_a_file_that_is_not_utf_8_is_json(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """A name from the command line has a lone surrogate for each such byte."""
    print_error(
        ErrorObject(code="usage", message="no such file: \udcff.jsonl", retryable=False, retry_after_s=None),
        as_json=True,
    )
    assert json.loads(capsysbinary.readouterr().out)["error"]["message"] == "no such file: \\udcff.jsonl"
