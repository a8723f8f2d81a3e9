"""Flat and rising series, and short peaks, which change nothing."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.flatness import Bound, judge, slope

BOUND = Bound(name="memory, MiB", per_hour=2.0, noise=0.5)
HOUR = 3600


def test_the_slope_is_that_of_the_line() -> None:
    """Per second."""
    assert slope([(t, 5 + 0.25 * t) for t in range(100)]) == pytest.approx(0.25)
    assert slope([(1.0, 7.0)]) == 0


def test_what_stays_is_flat_whatever_its_noise() -> None:
    """One unit up and down, for an hour."""
    rng = Random(1)
    samples = [(float(t), 100 + rng.uniform(-1, 1)) for t in range(0, HOUR, 5)]
    assert judge(BOUND, samples).flat


def test_what_leaks_is_not_flat_whatever_its_noise() -> None:
    """Four units an hour under a noise of one."""
    rng = Random(1)
    samples = [(float(t), 100 + 4 * t / HOUR + rng.uniform(-1, 1)) for t in range(0, HOUR, 5)]
    found = judge(BOUND, samples)
    assert not found.flat
    assert found.per_hour == pytest.approx(4, abs=0.5)


def test_a_peak_does_not_bend_the_slope() -> None:
    """A tenth of the samples is far off."""
    samples = [(float(t), 500.0 if 300 < t < 400 else 100.0) for t in range(0, 1000, 5)]
    assert judge(BOUND, samples).per_hour == 0


def test_too_little_growth_in_a_short_run_says_nothing() -> None:
    """A third of a unit in a minute is twenty an hour, and may be chance."""
    samples = [(float(t), 100 + t / 180) for t in range(0, 61, 5)]
    assert judge(BOUND, samples).flat
    assert not judge(BOUND, [(t, value + t / 60) for t, value in samples]).flat


def test_what_was_never_measured_is_not_flat() -> None:
    """As what has a sample and does not grow would be."""
    found = judge(BOUND, [])
    assert (found.flat, found.word) == (False, "not measured")
    assert judge(BOUND, [(1.0, 7.0)]).word == "flat"


def test_one_sample_above_the_largest_value_is_enough() -> None:
    """Where no slope is bounded."""
    peaks = Bound(name="connections", most=40)
    samples = [(float(t), 20 + 20 * t / HOUR) for t in range(0, HOUR + 5, 5)]
    found = judge(peaks, samples)
    assert found.flat
    assert (found.largest, found.bound_per_hour) == (40, None)
    assert not judge(peaks, [*samples, (HOUR + 10.0, 41.0)]).flat
