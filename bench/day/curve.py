"""The day's curve, cut to what decides: its mean and its peak.

A day has 24 hours at all rates between the night's and the busiest hour's. What a service must bear is the mean, for as long as one
likes, and the peak, for an hour. So the compressed day is a third of the time at the mean, a third at the peak, and a third at
the mean again, in which a backlog of the peak must go. The rates are the real ones; only the time is shorter. Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

PEAK_FACTOR: Final = 3.0
"""Rate of the busiest hour, times the mean: as in ``bench.capacity.model``."""

BEFORE: Final = "before the peak"
PEAK: Final = "at the peak"
AFTER: Final = "after the peak"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the compressed day, in seconds from its start, at a rate of ``level`` times the mean."""

    name: str
    starts_s: float
    ends_s: float
    level: float

    @property
    def seconds(self) -> float:
        """Length."""
        return self.ends_s - self.starts_s


def compressed_day(seconds: float, peak_factor: float = PEAK_FACTOR) -> list[Phase]:
    """Three phases of the same length; raises ``ValueError`` for a time or a factor that is not positive."""
    if seconds <= 0 or peak_factor <= 0:
        raise ValueError("a day has a length, and a peak has a rate")
    third = seconds / 3
    levels = ((BEFORE, 1.0), (PEAK, peak_factor), (AFTER, 1.0))
    return [
        Phase(name=name, starts_s=number * third, ends_s=(number + 1) * third, level=level)
        for number, (name, level) in enumerate(levels)
    ]


def phase_at(phases: Sequence[Phase], at_s: float) -> Phase:
    """The phase of this moment; after the end the last one."""
    for phase in phases:
        if at_s < phase.ends_s:
            return phase
    return phases[-1]


def seconds_of_mean(phases: Sequence[Phase]) -> float:
    """Time in which the same number is signed at the mean."""
    return sum(phase.level * phase.seconds for phase in phases)


def moment_of(phases: Sequence[Phase], mean_s: float) -> float | None:
    """The moment by which as much has been asked as in ``mean_s`` at the mean; None beyond the end."""
    for phase in phases:
        share_s = phase.level * phase.seconds
        if mean_s < share_s:
            return phase.starts_s + mean_s / phase.level
        mean_s -= share_s
    return None
