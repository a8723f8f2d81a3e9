"""Names of tenants, keys, clients and tokens, and the patterns of all values from outside."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from queueing.protocol.names import Name, UncheckedName, is_name

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", ["a", "acme", "a.b-c_d", "0", "a" * 63])
def test_a_name_is_accepted(name: str) -> None:
    """1 to 63 lower-case letters, digits, dots, dashes and underscores."""
    assert msgspec.convert(name, Name) == name
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "acme\n", "Acme", "-a", "a-", "a/b", "{a}", "a" * 64, "a\0", "é", "²"])
def test_a_name_is_refused(name: str) -> None:
    """Also with a line feed at its end, which would be a second line of a log or a key of its own in Redis."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)
    assert not is_name(name)


def test_a_text_that_is_remembered_is_no_longer_than_a_name() -> None:
    """Else 4,096 texts of a client would take the memory of the process."""
    assert msgspec.convert("A" * 63, UncheckedName)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("a" * 64, UncheckedName)


def test_no_pattern_ends_in_a_dollar_sign() -> None:
    r"""``$`` matches before a final line feed, too (re, Regular Expression Syntax); ``\Z`` is the end."""
    ends = re.compile(r"""(?<!\\)\$["']""")
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in ("queueing", "workers")
        for file in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if ends.search(line) and "MULTILINE" not in line
    ]
    assert found == []
