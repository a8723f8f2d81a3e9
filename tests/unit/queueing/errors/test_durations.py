"""Durations in words."""

from __future__ import annotations

import pytest

from queueing.errors.durations import in_words


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7199, "120.0 min"),
        (7200, "2.0 h"),
        (400 * 86_400, "400.0 d"),
    ],
)
def test_a_duration_is_told_in_the_largest_unit_of_which_it_has_two(seconds: float, words: str) -> None:
    """So that a number is short and no digit that matters is lost."""
    assert in_words(seconds) == words
