"""Percentiles by a log-linear histogram."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measurement.percentiles import HIGHEST_US, LatencyRecorder


def test_the_percentiles_of_a_known_distribution_are_found() -> None:
    """1 to 1,000 ms, each once: the percentiles are the values, to 0.2 %."""
    recorder = LatencyRecorder()
    for milliseconds in range(1, 1001):
        recorder.record(milliseconds / 1e3)
    found = recorder.percentiles()
    assert found.count == 1000
    assert found.p50_ms == pytest.approx(500, rel=0.002)
    assert found.p90_ms == pytest.approx(900, rel=0.002)
    assert found.p99_ms == pytest.approx(990, rel=0.002)
    assert found.p999_ms == pytest.approx(999, rel=0.002)
    assert found.max_ms == pytest.approx(1000, rel=0.002)
    assert found.mean_ms == pytest.approx(500.5, rel=0.002)


def test_nothing_recorded_is_zero() -> None:
    """An empty recorder answers without a division by zero."""
    found = LatencyRecorder().percentiles()
    assert (found.count, found.p99_ms, found.max_ms) == (0, 0.0, 0.0)


def test_recorders_add_up() -> None:
    """Two loads may be one distribution."""
    one, two = LatencyRecorder(), LatencyRecorder()
    one.record(0.001)
    two.record(0.1)
    one.add(two)
    assert one.count == 2
    assert one.percentiles().max_ms == pytest.approx(100, rel=0.002)


@pytest.mark.parametrize("latency_s,expected_us", [(0.0, 1), (1e-9, 1), (1e9, HIGHEST_US)])
def test_out_of_range_values_are_clamped_and_counted(latency_s: float, expected_us: int) -> None:
    """No value is lost: a lost slow one would flatter."""
    recorder = LatencyRecorder()
    recorder.record(latency_s)
    assert recorder.count == 1
    assert recorder.percentiles().max_ms == pytest.approx(expected_us / 1e3, rel=0.002)


def test_a_negative_latency_is_refused() -> None:
    """Two clocks were mixed up."""
    with pytest.raises(ValueError, match="negative"):
        LatencyRecorder().record(-0.001)


@given(st.lists(st.integers(min_value=1, max_value=HIGHEST_US), min_size=1, max_size=300))
def test_a_percentile_is_never_flattering_and_never_far_off(latencies_us: list[int]) -> None:
    """It is at least the true value of its rank, and at most 0.1 % above it."""
    recorder = LatencyRecorder()
    for latency in latencies_us:
        recorder.record(latency / 1e6)
    found, ranked = recorder.percentiles(), sorted(latencies_us)
    for share, value_ms in ((0.5, found.p50_ms), (0.9, found.p90_ms), (0.99, found.p99_ms)):
        true_ms = ranked[math.ceil(len(ranked) * share - 1e-9) - 1] / 1e3
        assert true_ms * (1 - 1e-9) <= value_ms <= true_ms * 1.001
    assert found.max_ms == pytest.approx(max(latencies_us) / 1e3)
