"""Budget of the time series of a process: tenants and tokens beyond it are counted under ``other``.

Thousands of tenants may be configured, and a tenant's requests decide for which reasons they are refused: neither may
create an unbounded number of series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

OTHER: Final = "other"
"""Label of all owners without a series of their own."""

MOST_NAMED_SERIES: Final = 980
"""Of 2,000 in a process: series without owner, and ``other`` with all reasons and algorithms, are 1,015 at most."""

MOST_OF_ONE_OWNER: Final = 120
"""A busy tenant with one token has about 90 series."""

MOST_RANKED: Final = 100
"""Owners that a ranked gauge shows at a time; with a dozen such gauges the counters still fit."""

M = TypeVar("M", Counter, Gauge, Histogram)


class SeriesBudget:
    """Remaining series of a process, and those taken by each owner (tenant or token)."""

    def __init__(self, most: int = MOST_NAMED_SERIES, most_of_one: int = MOST_OF_ONE_OWNER) -> None:
        self._left = most
        self._most_of_one = most_of_one
        self._of: dict[str, int] = {}

    def take(self, owner: str, series: int) -> bool:
        """Take series for an owner; False, and nothing taken, where the budget is used up."""
        taken = self._of.get(owner, 0) + series
        if series > self._left or taken > self._most_of_one:
            return False
        self._left -= series
        self._of[owner] = taken
        return True


class Bounded(Generic[M]):
    """Metric whose first label is its owner, of one ``kind``: tenant or token.

    ``labels`` always returns the same child for the same labels. ``series``: number of series of one child. ``named``: labels that
    are names of the configuration, the owner's first; they are all ``other`` together.
    """

    def __init__(
        self, metric: M, budget: SeriesBudget, *, kind: str, series: int = 1, named: int = 1
    ) -> None:
        self._metric: M = metric
        self._kind = kind
        self._budget = budget
        self._series = series
        self._named = named
        self._children: dict[tuple[str, ...], M] = {}
        self._together: set[tuple[str, ...]] = set()

    def labels(self, owner: str, *rest: str) -> M:
        """Child of these labels, or of ``other`` with the same labels that are no names."""
        labels: tuple[str, ...] = (owner, *rest)
        child = self._children.get(labels)
        if child is None:
            if owner != OTHER and not self._budget.take(f"{self._kind} {owner}", self._series):
                self._together.add(labels)
                labels = (*(OTHER,) * self._named, *labels[self._named :])
            child = self._children[owner, *rest] = self._metric.labels(*labels)
        return child

    def own(self, owner: str) -> M | None:
        """Child of an owner; None where the owner is counted under ``other``."""
        child = self.labels(owner)
        return None if owner == OTHER or (owner,) in self._together else child


def put(gauge: Bounded[Gauge], owner: str, value: float) -> None:
    """Set the gauge of an owner; does nothing where the owner is counted under ``other``."""
    child = gauge.own(owner)
    if child is not None:
        child.set(value)


class Ranked:
    """Gauge of changing owners: series that are no longer shown are removed."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: set[tuple[str, ...]] = set()

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these values, by labels, and no others. A concurrent scrape may see some old and some new ones."""
        for labels in self._shown - values.keys():
            self._gauge.remove(*labels)
        for labels, value in values.items():
            self._gauge.labels(*labels).set(value)
        self._shown = set(values)
