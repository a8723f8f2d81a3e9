"""Bound on work under way at once, which grows while answers come soon."""

from __future__ import annotations

import asyncio
from typing import Final

SOON_S: Final = 1.0
"""Work that is answered in this time did not wait long: its service can have more at once."""

LATE_S: Final = 4.0
"""Work that took this long has waited in a queue: more at once would wait longer."""


class GrowingWindow:
    """Places for work under way: ``first`` at least, ``most`` at most.

    It grows as TCP's window does in slow start: an answer within ``SOON_S`` for which the caller waited adds as many places as
    answers were taken since the last such one, so that the window doubles in each round trip. It grows only while it is full:
    a slow source of work gets no larger one, and neither does a slow reader of the answers, who waits for none.
    Each answer after ``LATE_S`` or more takes one place away.
    """

    def __init__(self, first: int, most: int) -> None:
        self._first = first
        self._most = max(first, most)
        self._size = first
        self._free = asyncio.Semaphore(first)
        self._taken = 0

    @property
    def size(self) -> int:
        """Places now."""
        return self._size

    async def enter(self) -> None:
        """Wait for a place."""
        await self._free.acquire()

    def leave(self, answered_in_s: float, *, waited_for: bool) -> None:
        """Give a place back. ``answered_in_s``: from the start of the work; ``waited_for``: the caller came before the answer."""
        self._taken += 1
        change = 0
        if answered_in_s >= LATE_S:
            change = -1 if self._size > self._first else 0
        elif answered_in_s <= SOON_S and waited_for:
            if self._free.locked():
                change = min(self._taken, self._most - self._size)
            self._taken = 0
        self._size += change
        for _ in range(1 + change):
            self._free.release()
