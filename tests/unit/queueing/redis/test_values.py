"""Values as Redis returns them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.redis.values import MOST_COUNT, Readable, count_of


@pytest.mark.parametrize(
    "value,count",
    [
        (b"17", 17),
        ("17", 17),
        (17, 17),
        (-1, 0),
        (b"-1", 0),
        (b"1e3", 0),
        (b"1_000", 0),
        (b" 1", 0),
        (b"", 0),
        (None, 0),
        (b"9" * 400, 0),
        (b"9" * 16, MOST_COUNT),
        (2**62, MOST_COUNT),
        ("\u0661", 0),
        ([], 0),
    ],
)
def test_a_count_is_a_short_row_of_digits(value: object, count: int) -> None:
    """Anything else is 0, and a large one is cut off."""
    assert count_of(value) == count


@given(st.none() | st.integers() | st.binary() | st.text() | st.floats() | st.lists(st.integers()))
def test_any_value_is_a_count(value: object) -> None:
    """The bound is the largest integer that Prometheus, JSON and Lua hold exactly."""
    assert 0 <= count_of(value) <= MOST_COUNT
    assert float(count_of(value)) == count_of(value)


def test_readable_items_know_how_many_were_not() -> None:
    """It is a list otherwise."""
    assert (Readable([1], damaged=2), Readable([1], damaged=2).damaged) == ([1], 2)
