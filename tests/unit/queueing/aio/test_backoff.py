"""Backoff between retries: growing waits with jitter."""

from __future__ import annotations

import math

import pytest

from queueing.aio.backoff import Backoff, backoff_s, wait_after
from queueing.errors import LimitRate, QueueUnavailable
from tests.support.clocks.fixed_random import FixedRandom


@pytest.mark.parametrize(
    "failures, wait_s", [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (5000, 60.0)]
)
def test_a_wait_doubles_with_each_failure_up_to_the_most(failures: int, wait_s: float) -> None:
    """The wait after a thousand failures is the longest one, and no overflow. At random it is shortened by up to half."""
    assert backoff_s(failures, first_s=1.0, most_s=60.0, at_random=1.0) == wait_s
    assert backoff_s(failures, first_s=1.0, most_s=60.0, at_random=0.0) == wait_s / 2


def test_backoff_doubles_up_to_its_most() -> None:
    """0.1, 0.2, 0.4 … and back to the first after a success; each is shortened by up to half at random."""
    backoff = Backoff(first_s=0.1, most_s=0.5, randomness=FixedRandom(1.0))
    assert [backoff.next_s() for _ in range(4)] == pytest.approx([0.1, 0.2, 0.4, 0.5])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.1)
    assert Backoff(first_s=1.0, randomness=FixedRandom(0.0)).next_s() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "advised_s, least_s, most_s",
    [(None, 5.0, 7.5), (2.0, 2.0, 3.0), (0.0, 0.1, 0.15), (1e9, 300.0, 450.0), (math.nan, 0.1, 0.15)],
)
def test_a_refused_caller_waits_the_advised_time_and_up_to_half_as_much_again(
    advised_s: float | None, least_s: float, most_s: float
) -> None:
    """Never earlier than the service advises; without advice five seconds; the advice counts from 0.1 to 300 s."""
    refusal = LimitRate(retry_after_s=advised_s)
    assert wait_after(refusal, FixedRandom(0.0)) == pytest.approx(least_s)
    assert wait_after(refusal, FixedRandom(1.0)) == pytest.approx(most_s)


@pytest.mark.parametrize(
    "advised_s, wait_s", [(None, 2.0), (1.0, 2.0), (9.0, 9.0), (1e300, 300.0), (-1.0, 2.0)]
)
def test_a_backoff_follows_advice_that_is_longer(advised_s: float | None, wait_s: float) -> None:
    """Up to 300 s, so that no answer of a relay stops a client that could be served again."""
    backoff = Backoff(first_s=2.0, randomness=FixedRandom(1.0))
    assert backoff.after_s(QueueUnavailable(retry_after_s=advised_s)) == wait_s
