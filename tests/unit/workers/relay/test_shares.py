"""Shares of a relay's places: what one tenant or one Redis holds leaves room for others, however many hold much."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import pytest

from workers.relay.shares import Shares

APART = {"acme": "a", "globex": "b", "initech": "c"}
"""Three tenants, each with a Redis of its own."""


def held(shares: Shares, *tenants: str, stack: contextlib.ExitStack) -> dict[str, int]:
    """Places that the tenants get which take by turns whatever they may."""
    found = dict.fromkeys(tenants, 0)
    while takers := [each for each in found if shares.are_free() and shares.may_take(each)]:
        stack.enter_context(shares.held(takers[0]))
        found[takers[0]] += 1
    return found


@pytest.mark.parametrize(
    "times, redis_of, places",
    [
        (1, APART, {"acme": 128, "globex": 64, "initech": 32}),
        (3, APART, {"acme": 192, "globex": 48, "initech": 12}),
        (1, {"acme": "a"}, {"acme": 256}),
        (1, dict.fromkeys(APART, "a"), {"acme": 128, "globex": 64, "initech": 32}),
    ],
)
def test_each_has_at_most_what_it_leaves_free(
    times: int, redis_of: Mapping[str, str], places: dict[str, int]
) -> None:
    """Or three times as much; so there is room, however many tenants take what they may. A tenant that is alone may have all."""
    shares = Shares(256, redis_of, times=times)
    with contextlib.ExitStack() as stack:
        assert held(shares, *places, stack=stack) == places
        assert shares.taken == sum(places.values())
    assert shares.taken == 0


def test_many_tenants_of_one_redis_have_no_more_together_than_they_leave() -> None:
    """When it is silent, the tenants of another one have half of the places."""
    silent = {f"t{number}": "silent" for number in range(200)}
    shares = Shares(256, {**silent, "acme": "other"})
    with contextlib.ExitStack() as stack:
        for each in silent:
            held(shares, each, stack=stack)
        assert shares.taken == 128
        assert held(shares, "acme", stack=stack) == {"acme": 64}


def test_the_first_place_may_be_the_last_one() -> None:
    """A tenant that has nothing is not refused for what others hold; the next place is another thing."""
    shares = Shares(2, APART)
    with shares.held("acme"):
        assert not shares.may_take("acme")
        with shares.held("globex"):
            assert not shares.are_free()
        assert shares.may_take("globex")


def test_places_are_counted_by_their_number() -> None:
    """A poll for many jobs takes many at once."""
    shares = Shares(100, APART)
    with shares.held("acme", 30):
        assert shares.may_take("acme", 20)
        assert not shares.may_take("acme", 21)
        assert shares.are_free(70)
        assert not shares.are_free(71)


def test_what_an_operator_has_set_takes_the_place_of_the_rule() -> None:
    """More or less than the rule gives; others keep to the rule with what is left."""
    shares = Shares(8, APART, own={"acme": 6, "globex": 1})
    with contextlib.ExitStack() as stack:
        assert held(shares, "acme", "globex", "initech", stack=stack) == {
            "acme": 6,
            "globex": 1,
            "initech": 1,
        }
