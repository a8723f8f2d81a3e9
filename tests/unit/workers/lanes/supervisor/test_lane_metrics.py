"""Metrics of lanes: gauges of lanes and sessions, restarts by reason, state of the circuit breaker."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from workers.lanes.supervisor.circuit_breaker import Circuit
from workers.lanes.supervisor.lane_metrics import MOST_REASONS, LaneMetrics
from workers.telemetry.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def lanes(metrics: Metrics) -> LaneMetrics:
    return LaneMetrics(metrics)


def test_lanes_and_sessions_go_up_and_down(metrics: Metrics, lanes: LaneMetrics) -> None:
    """A lane that was told to stop is removed from the gauges and is not counted as a restart."""
    lanes.lane_started("acme", 4)
    lanes.lane_started("acme", 2)
    lanes.lane_ended("acme", 4, None)
    lanes.lane_ended("acme", 2, "signal_9")
    assert metrics.sessions.labels("acme")._value.get() == 0
    assert metrics.lanes.labels("acme")._value.get() == 0
    assert metrics.lane_restarts.labels("acme", "signal_9")._value.get() == 1


def test_a_lane_that_never_logged_in_is_counted_with_its_reason(metrics: Metrics, lanes: LaneMetrics) -> None:
    """A lane that is not in the gauges is not taken out of them."""
    lanes.lane_failed("acme", "exit_73")
    assert metrics.lane_restarts.labels("acme", "exit_73")._value.get() == 1
    assert metrics.lanes.labels("acme")._value.get() == 0
    assert metrics.sessions.labels("acme")._value.get() == 0


@pytest.mark.parametrize("circuit, value", [(Circuit.CLOSED, 0), (Circuit.OPEN, 1), (Circuit.REFUSED, 2)])
def test_the_circuit_is_a_number(metrics: Metrics, lanes: LaneMetrics, circuit: Circuit, value: int) -> None:
    """The gauge has one value for each state of the circuit breaker."""
    lanes.circuit_changed("acme", circuit)
    assert metrics.circuit_open.labels("acme")._value.get() == value


def test_a_lane_that_names_ever_new_reasons_makes_a_bounded_number_of_series(
    metrics: Metrics, lanes: LaneMetrics
) -> None:
    """Series beyond the bound are counted as ``other``."""
    for number in range(MOST_REASONS + 10):
        lanes.lane_failed("acme", f"REASON_{number}")
    assert metrics.lane_restarts.labels("acme", "other")._value.get() == 10
