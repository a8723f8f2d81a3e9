"""Answers of scripts get their types in one place, or are an error of Redis."""

from __future__ import annotations

from contextlib import suppress
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import RedisClusterException, ResponseError

from queueing.redis.errors import AnswerMalformed, raise_outage, unavailable
from queueing.redis.script_answers import checked, checked_each

ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(), inner, max_size=2),
)


class Step(IntEnum):
    """A status of a script."""

    LOST = 0
    DONE = 1


def test_a_status_is_a_member_of_its_enumeration() -> None:
    """The number of a script, by its name."""
    assert checked_each([1, 0], list[Step], 2) == [Step.DONE, Step.LOST]


@pytest.mark.parametrize("answer", [[1], [1, 0, 1], [1, 2], [1, b"0"], [1, None], b"OK", None, {}])
def test_an_answer_that_does_not_fit_its_items_is_malformed(answer: object) -> None:
    """Too few, too many, unknown, of another type: an item never gets the status of another one."""
    with pytest.raises(AnswerMalformed):
        checked_each(answer, list[Step], 2)


@pytest.mark.parametrize(
    "error", [ResponseError("WRONGTYPE"), RedisClusterException("gone"), OSError("reset")]
)
def test_an_answer_that_is_an_error_is_raised_as_it_is(error: Exception) -> None:
    """As it stands in the place of its call, of any root that an error of Redis has."""
    with pytest.raises(type(error)) as raised:
        checked(error, int)
    assert raised.value is error


@given(ANSWERS)
def test_no_answer_raises_anything_else_than_an_error_of_redis(answer: object) -> None:
    """The callers handle errors of Redis, and no others."""
    with suppress(AnswerMalformed):
        checked_each(answer, list[Step], 1)
    with suppress(AnswerMalformed):
        checked_each(answer, list[list[bytes | int]], 1)


def test_a_malformed_answer_is_an_outage_of_which_the_effect_is_unknown() -> None:
    """The script has run: what it did stays done. The message repeats what to do."""
    told = unavailable("claim jobs", AnswerMalformed("connect to Redis itself"))
    assert (told.perhaps_done, told.server_wide) == (True, False)
    assert str(told).startswith("cannot claim jobs: ")
    assert "connect to Redis itself" in str(told)
    with pytest.raises(AnswerMalformed):
        raise_outage([AnswerMalformed("none of ours")])
