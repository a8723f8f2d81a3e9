"""Durations in rules: real, or divided by one factor for a drill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_LEAST_S: Final = 2.0
"""Four scrapes of a drill: a rate needs that many samples."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Clock of a set of rules. ``scale`` 1 is real time; with 60 an hour takes a minute."""

    scale: float = 1.0

    def window(self, seconds: float) -> str:
        """Range or ``for`` duration in Prometheus' notation."""
        if self.scale == 1.0:
            unit, size = next((u, s) for u, s in _UNITS if seconds % s == 0)
            return f"{seconds // size:.0f}{unit}"
        return f"{max(seconds / self.scale, _LEAST_S) * 1000:.0f}ms"

    def pending(self, seconds: float) -> str:
        """Duration for which an alert must be pending."""
        return self.window(seconds) if self.scale == 1.0 else f"{seconds / self.scale * 1000:.0f}ms"

    def threshold(self, seconds: float) -> str:
        """Age in seconds that an expression is compared with."""
        return f"{max(seconds / self.scale, _LEAST_S) if self.scale != 1.0 else seconds:g}"


REAL: Final = Clock()


def name_of(seconds: int) -> str:
    """Window in the name of a recorded series, the same for every clock."""
    return REAL.window(seconds)
