"""Whether what is measured again and again stays where it is. Pure.

The slope is Theil and Sen's: the median over all pairs of samples, so that a peak in the middle of a fault, or a few
samples that are wrong, do not bend it (Sen, 1968).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

Sample = tuple[float, float]
"""When (seconds), and how much."""

MOST_PAIRED = 400
"""Of more samples every n-th is taken: the pairs are quadratic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Allowed growth of one quantity over an hour, in its unit. ``noise``: growth over the whole run that says nothing yet.

    ``most``: the largest value at any time.
    """

    name: str
    per_hour: float = math.inf
    noise: float = 0.0
    most: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """Result of one bound: the median at the begin and at the end, the slope, and the largest value."""

    name: str
    samples: int
    first: float
    last: float
    per_hour: float
    bound_per_hour: float | None
    flat: bool
    largest: float = 0.0

    @property
    def word(self) -> str:
        """Result in a table: a quantity that was never measured is not flat."""
        if not self.samples:
            return "not measured"
        return "flat" if self.flat else "grows"


def slope(samples: Sequence[Sample]) -> float:
    """Per second; 0 where there are fewer than two samples."""
    step = max(len(samples) // MOST_PAIRED, 1)
    pairs = combinations(samples[::step], 2)
    slopes = [(b - a) / (later - sooner) for (sooner, a), (later, b) in pairs if later > sooner]
    return statistics.median(slopes) if slopes else 0.0


def judge(bound: Bound, samples: Sequence[Sample]) -> Flatness:
    """Flat is what was measured, never exceeds its largest value, and grows no faster than its bound, or by less than its noise over the run."""
    per_second = slope(samples)
    length_s = samples[-1][0] - samples[0][0] if samples else 0.0
    tenth = max(len(samples) // 10, 1)
    values = [value for _, value in samples]
    per_hour = per_second * 3600
    largest = max(values, default=0.0)
    grows = per_hour > bound.per_hour and per_second * length_s > bound.noise
    return Flatness(
        name=bound.name,
        samples=len(samples),
        first=round(statistics.median(values[:tenth]), 2) if values else 0.0,
        last=round(statistics.median(values[-tenth:]), 2) if values else 0.0,
        per_hour=round(per_hour, 2),
        bound_per_hour=bound.per_hour if math.isfinite(bound.per_hour) else None,
        flat=bool(values) and largest <= bound.most and not grows,
        largest=round(largest, 2),
    )
