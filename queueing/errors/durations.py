"""Durations in words, for messages about clocks and dates."""

from __future__ import annotations

from typing import Final

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60))


def in_words(seconds: float) -> str:
    """The duration in the largest unit of which it has at least two, such as ``90 s``, ``5.0 h`` or ``400.0 d``."""
    for unit, length in _UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
