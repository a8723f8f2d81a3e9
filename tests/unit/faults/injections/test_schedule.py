"""Schedules of the fault harness: drawn from the seed alone, and fair to every kind of fault."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import seeds_of
from tests.faults.injections.kinds import KINDS
from tests.faults.injections.schedule import schedule

LEAST_KINDS = 25


def test_the_same_seed_has_the_same_schedule() -> None:
    """And another seed another one."""
    assert schedule(17, tuple(KINDS), steps=6) == schedule(17, tuple(reversed(KINDS)), steps=6)
    assert schedule(17, tuple(KINDS), steps=6) != schedule(18, tuple(KINDS), steps=6)


def test_there_are_many_kinds_and_each_has_its_turn() -> None:
    """At least twice in a hundred seeds."""
    drawn = [
        kind for seed in range(100) for step in schedule(seed, tuple(KINDS), steps=6) for kind in step.kinds
    ]
    assert len(KINDS) >= LEAST_KINDS
    assert min(drawn.count(kind) for kind in KINDS) >= 2


def test_some_faults_come_in_pairs_of_different_parts() -> None:
    """One fault at a time is not what a bad night is like."""
    steps = [step for seed in range(50) for step in schedule(seed, tuple(KINDS), steps=6)]
    pairs = [step for step in steps if len(step.kinds) == 2]
    assert 0.1 < len(pairs) / len(steps) < 0.3
    assert all(len({kind.partition(".")[0] for kind in step.kinds}) == 2 for step in pairs)


@pytest.mark.parametrize("text,seeds", [("17", [17]), ("1-3", [1, 2, 3]), ("1-2,9,20-21", [1, 2, 9, 20, 21])])
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    """As on the command line."""
    assert seeds_of(text) == seeds
