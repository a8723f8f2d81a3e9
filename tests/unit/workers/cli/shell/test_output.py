"""Exit codes, tables and errors as people and programs read them."""

from __future__ import annotations

import json

import pytest

from queueing.errors import ConfigError, KeyUnknown, LimitRate, ResultInvalid, SigningError
from workers.cli.shell.output import ErrorObject, Exit, Tally, error_object, print_error, print_table


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
    """77 if anything was denied, else 1 if anything failed for good, else 75, else 0."""
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
