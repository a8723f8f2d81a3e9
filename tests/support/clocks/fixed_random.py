"""Randomness that a test decides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat


class FixedRandom:
    """Answers the numbers one after the other; one alone is answered always."""

    def __init__(self, *numbers: float) -> None:
        self._numbers: Iterator[float] = repeat(*numbers) if len(numbers) == 1 else iter(numbers)

    def random(self) -> float:
        """The next number."""
        return next(self._numbers)
