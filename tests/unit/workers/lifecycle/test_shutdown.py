"""Deadline of a shutdown, with a fake clock."""

from __future__ import annotations

import pytest

from workers.lifecycle.shutdown import LONGEST_RESERVE_S, ShutdownDeadline


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_deadline_runs_from_the_first_signal(clock: Clock) -> None:
    """A second signal does not postpone it."""
    drain = ShutdownDeadline(20.0, clock_s=clock)
    drain.ask()
    clock.now += 5
    drain.ask()
    assert drain.to_finish_s == 15 - LONGEST_RESERVE_S


def test_before_it_is_asked_all_of_it_is_left(clock: Clock) -> None:
    """A worker that ends by itself has the same time to close."""
    drain = ShutdownDeadline(20.0, clock_s=clock)
    clock.now += 1000
    assert not drain.asked.is_set()
    assert drain.to_close_s == 10


@pytest.mark.parametrize("drain_s", [0.3, 3.0, 20.0, 600.0])
def test_all_steps_together_end_before_the_deadline(clock: Clock, drain_s: float) -> None:
    """Even if each takes all of its time: the HSM, the returns, and three parts that close."""
    drain = ShutdownDeadline(drain_s, clock_s=clock)
    drain.ask()
    began = clock.now
    for step in ("to_finish_s", "to_return_s", "to_close_s", "to_close_s", "to_close_s"):
        took_s = getattr(drain, step)
        assert took_s > 0
        clock.now += took_s
    assert clock.now - began < drain_s


def test_nothing_is_left_after_the_deadline(clock: Clock) -> None:
    """The time left is never negative."""
    drain = ShutdownDeadline(2.0, clock_s=clock)
    drain.ask()
    clock.now += 10
    assert (drain.to_finish_s, drain.to_return_s, drain.to_close_s) == (0, 0, 0)
