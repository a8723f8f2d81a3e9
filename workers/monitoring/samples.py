"""Metrics by label, from any source: scraped pages or a Prometheus server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ByLabels = dict[tuple[str, ...], float]
"""Numbers by the values of the requested labels, in their order."""


class MetricsSource(Protocol):
    """Metrics of a cluster at one time, by their exposed names; rates are per second over ``window_s``."""

    @property
    def window_s(self) -> float:
        """Window of rates and quantiles in seconds."""

    def rates(self, counter: str, *by: str) -> ByLabels:
        """Rates of a counter, summed over all other labels and processes."""

    def values(self, gauge: str, *by: str) -> ByLabels:
        """Values of a gauge, summed over all other labels and processes."""

    def maxima(self, gauge: str, *by: str) -> ByLabels:
        """Maxima of a gauge over all other labels and processes."""

    def quantiles(self, histogram: str, q: float, *by: str) -> ByLabels:
        """Quantiles within the window, estimated as ``histogram_quantile`` does; absent where nothing was observed."""


def quantile_of(buckets: Mapping[float, float], q: float) -> float | None:
    """Quantile of cumulative counts by upper bound (including ``inf``); None where they are empty.

    Linear within a bucket, as in PromQL; above the last finite bound it is that bound.
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


def one(numbers: ByLabels) -> float | None:
    """The number without labels; None where there is none."""
    return numbers.get(())


def names_of(*numbers: ByLabels) -> Sequence[str]:
    """All values of the first label, sorted."""
    return sorted({labels[0] for each in numbers for labels in each})
