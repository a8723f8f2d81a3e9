"""Quantiles of histogram buckets, and the names of a metrics source."""

from __future__ import annotations

import pytest

from workers.monitoring.samples import names_of, one, quantile_of

INF = float("inf")


@pytest.mark.parametrize(
    "buckets, q, expected",
    [
        ({1.0: 0, 2.0: 10, INF: 10}, 0.5, 1.5),
        ({1.0: 10, 2.0: 10, INF: 10}, 0.99, 0.99),
        ({1.0: 0, 2.0: 5, INF: 10}, 0.99, 2.0),  # beyond the last bound nothing is known
        ({1.0: 5, 2.0: 5, 4.0: 10, INF: 10}, 0.75, 3.0),
        ({1.0: 0, INF: 0}, 0.5, None),
        ({INF: 3}, 0.5, None),
        ({1.0: 3}, 0.5, None),
        ({}, 0.5, None),
    ],
)
def test_a_quantile_of_cumulative_buckets(
    buckets: dict[float, float], q: float, expected: float | None
) -> None:
    """As histogram_quantile estimates it."""
    assert quantile_of(buckets, q) == (None if expected is None else pytest.approx(expected))


def test_names_are_those_of_all_metrics_sorted() -> None:
    """A tenant that has only one of the metrics is listed, too."""
    assert names_of({("b", "x"): 1.0}, {("a",): 2.0, ("b",): 3.0}) == ["a", "b"]


def test_a_metric_without_labels_has_one_number() -> None:
    """None where the source has no such metric."""
    assert one({(): 3.0}) == 3.0
    assert one({}) is None
