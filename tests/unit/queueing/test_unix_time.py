"""The host's clock in milliseconds is one function, and its reading is nowhere written out a second time."""

from __future__ import annotations

import ast
import time
from pathlib import Path

from queueing.unix_time import unix_ms

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
