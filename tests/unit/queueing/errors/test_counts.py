"""Counts in messages: one is one, and everything else is more."""

from __future__ import annotations

import pytest

from queueing.errors.counts import agreed, counted


@pytest.mark.parametrize(
    "number, text", [(0, "0 jobs are"), (1, "1 job is"), (2, "2 jobs are"), (1201, "1,201 jobs are")]
)
def test_noun_and_verb_agree_with_the_number(number: int, text: str) -> None:
    """Singular for 1 alone."""
    assert f"{counted(number, 'job')} {agreed(number, 'is', 'are')}" == text


def test_a_plural_of_its_own_is_given() -> None:
    """A noun that takes no s."""
    assert (counted(1, "entry", "entries"), counted(2, "entry", "entries")) == ("1 entry", "2 entries")
