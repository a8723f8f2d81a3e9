"""Durations in rules: as they are written, or all shorter by the same factor for a drill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_LEAST_S: Final = 2.0
"""Four scrapes of a drill: no rate is seen in less."""


@dataclass(frozen=True, slots=True)
class Clock:
    """``scale`` 1 is the real one; with 60 an hour is a minute."""

    scale: float = 1.0

    def window(self, seconds: float) -> str:
        """A range or a ``for``, as Prometheus writes it."""
        if self.scale == 1.0:
            unit, size = next((u, s) for u, s in _UNITS if seconds % s == 0)
            return f"{seconds // size:.0f}{unit}"
        return f"{max(seconds / self.scale, _LEAST_S) * 1000:.0f}ms"

    def pending(self, seconds: float) -> str:
        """How long an alert waits."""
        return self.window(seconds) if self.scale == 1.0 else f"{seconds / self.scale * 1000:.0f}ms"

    def threshold(self, seconds: float) -> str:
        """An age to compare with."""
        return f"{max(seconds / self.scale, _LEAST_S) if self.scale != 1.0 else seconds:g}"


REAL: Final = Clock()


def name_of(seconds: int) -> str:
    """A window in the name of a recorded series, whatever the clock."""
    return REAL.window(seconds)
