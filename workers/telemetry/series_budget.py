"""A bound on the time series of a process: a tenant or token that comes too late is counted under ``other``.

Thousands of tenants may be configured, and a tenant chooses by its input which reasons it is refused for: neither
may cost the metrics more than this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

OTHER: Final = "other"
"""The label of whatever has no name of its own."""

MOST_NAMED_SERIES: Final = 1150
"""Of 2,000 in a process: what has no owner, and ``other`` with every reason and algorithm, has 810 at worst."""

MOST_OF_ONE_OWNER: Final = 120
"""A busy tenant with one token has about 90."""

MOST_RANKED: Final = 100
"""Owners that a ranked gauge names at a time: a dozen such gauges leave room for the counters."""

M = TypeVar("M", Counter, Gauge, Histogram)


class SeriesBudget:
    """What may still be named, by owner: a tenant or a token."""

    def __init__(self, most: int = MOST_NAMED_SERIES, most_of_one: int = MOST_OF_ONE_OWNER) -> None:
        self._left = most
        self._most_of_one = most_of_one
        self._of: dict[str, int] = {}

    def take(self, owner: str, series: int) -> bool:
        """Whether the owner may have so many more."""
        taken = self._of.get(owner, 0) + series
        if series > self._left or taken > self._most_of_one:
            return False
        self._left -= series
        self._of[owner] = taken
        return True


class Bounded(Generic[M]):
    """A metric whose first label is its owner, of one ``kind``: tenant or token.

    ``labels`` answers the same child for the same labels, always. ``series``: how many one child has.
    """

    def __init__(self, metric: M, budget: SeriesBudget, *, kind: str, series: int = 1) -> None:
        self._metric: M = metric
        self._kind = kind
        self._budget = budget
        self._series = series
        self._children: dict[tuple[str, ...], M] = {}
        self._together: set[tuple[str, ...]] = set()

    def labels(self, owner: str, *rest: str) -> M:
        """The child of these labels, or that of ``other`` with the same rest."""
        labels = (owner, *rest)
        child = self._children.get(labels)
        if child is None:
            if owner != OTHER and not self._budget.take(f"{self._kind} {owner}", self._series):
                self._together.add(labels)
                labels = (OTHER, *rest)
            child = self._children[owner, *rest] = self._metric.labels(*labels)
        return child

    def own(self, owner: str) -> M | None:
        """The child of an owner that has its own; None for one that is counted under ``other``."""
        child = self.labels(owner)
        return None if owner == OTHER or (owner,) in self._together else child


def put(gauge: Bounded[Gauge], owner: str, value: float) -> None:
    """Set the gauge of an owner that has one: what is counted under ``other`` has no one value."""
    child = gauge.own(owner)
    if child is not None:
        child.set(value)


class Ranked:
    """A gauge whose owners come and go: what is not shown any more leaves no series behind."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._shown: set[tuple[str, ...]] = set()

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """These, by labels, and no others. A scrape in between sees some of both."""
        for labels in self._shown - values.keys():
            self._gauge.remove(*labels)
        for labels, value in values.items():
            self._gauge.labels(*labels).set(value)
        self._shown = set(values)
