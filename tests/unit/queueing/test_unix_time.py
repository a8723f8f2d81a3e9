"""The host's clock in milliseconds is one function, and its reading is nowhere written out a second time."""

from __future__ import annotations

import ast
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from queueing.unix_time import from_unix_ms, in_unix_ms, unix_ms

ROOT = Path(__file__).parents[3]
HOME = ROOT / "queueing" / "unix_time.py"


def test_the_clock_is_unix_time_in_whole_milliseconds() -> None:
    """Between the times before and after the call."""
    before_s = time.time()
    now_ms = unix_ms()

    assert isinstance(now_ms, int)
    assert int(before_s * 1000) <= now_ms <= time.time() * 1000 + 1


def test_no_other_code_divides_the_clock_into_milliseconds() -> None:
    """``time.time_ns() // 1_000_000`` is in ``queueing/unix_time.py`` alone."""
    copies = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for package in ("queueing", "workers", "bench", "ops", "tests")
        for file in (ROOT / package).rglob("*.py")
        if file != HOME and "time_ns()" in (text := file.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.BinOp) and ast.unparse(node) == "time.time_ns() // 1000000"
    ]
    assert not copies


@pytest.mark.parametrize("year", [1, 1969, 1970, 2037, 2038, 2106, 2243, 9999])
def test_a_time_of_the_calendar_is_the_same_millisecond_in_each_year(year: int) -> None:
    """Floats of seconds are one millisecond early for some of these from 2038 on, and their text from 2243 on."""
    start = datetime(year, 6, 1, 12, 30, 15, tzinfo=UTC)
    first_ms = in_unix_ms(start)
    for millisecond in range(1000):
        moment = start + timedelta(milliseconds=millisecond)
        assert in_unix_ms(moment) == first_ms + millisecond
        assert from_unix_ms(first_ms + millisecond) == moment


def test_a_time_of_another_zone_is_the_same_instant() -> None:
    """Half past one at one hour east of UTC is half past noon; microseconds are rounded down."""
    assert in_unix_ms(datetime(1970, 1, 1, 1, 0, 0, 1_999, tzinfo=timezone(timedelta(hours=1)))) == 1


def test_a_number_that_no_calendar_has_is_an_overflow() -> None:
    """One error, however large the number is."""
    for at_ms in (253_402_300_800_000, -(2**63), 2**200):
        with pytest.raises(OverflowError):
            from_unix_ms(at_ms)


def test_no_other_code_turns_times_of_the_calendar_into_milliseconds() -> None:
    """``timestamp() * 1000`` and ``fromtimestamp(… / 1000)`` lose a millisecond, and are nowhere."""
    found = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for package in ("queueing", "workers", "bench", "ops")
        for file in (ROOT / package).rglob("*.py")
        for found in re.finditer(r"timestamp\(\) \* 1000|fromtimestamp\([^\n/]*/ 1000", file.read_text())
        if file != HOME
    ]
    assert not found
