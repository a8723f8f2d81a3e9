"""Figures of metrics by label: what is shown is written once, wherever the metrics come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ByLabels = dict[tuple[str, ...], float]
"""Values of the labels that were asked for, in that order."""


class Figures(Protocol):
    """One moment of a cluster. Metrics by their exposed names; rates are per second over ``window_s``."""

    @property
    def window_s(self) -> float:
        """Over how long rates and quantiles are."""

    def rates(self, counter: str, *by: str) -> ByLabels:
        """How fast a counter grows, summed up over all other labels and processes."""

    def values(self, gauge: str, *by: str) -> ByLabels:
        """A gauge, summed up."""

    def greatest(self, gauge: str, *by: str) -> ByLabels:
        """A gauge, the greatest of all processes."""

    def quantiles(self, histogram: str, q: float, *by: str) -> ByLabels:
        """An estimate of the quantile within the window, as ``histogram_quantile`` makes it; nothing where nothing
        was observed.
        """


def quantile_of(buckets: Mapping[float, float], q: float) -> float | None:
    """The quantile of cumulative counts by upper bound (``inf`` among them); None where they are empty.

    Linear within a bucket, as in PromQL; beyond the last finite bound it is that bound.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0 or bounds[-1] != float("inf") or len(bounds) == 1:
        return None
    rank = q * total
    below_bound, below_count = 0.0, 0.0
    for bound in bounds[:-1]:
        count = buckets[bound]
        if count >= rank and count > below_count:
            return below_bound + (bound - below_bound) * (rank - below_count) / (count - below_count)
        below_bound, below_count = bound, count
    return bounds[-2]


def one(figures: ByLabels) -> float | None:
    """The figure without labels; None where there is none."""
    return figures.get(())


def names_of(*figures: ByLabels) -> Sequence[str]:
    """The values of the first label in any of these."""
    return sorted({labels[0] for each in figures for labels in each})
