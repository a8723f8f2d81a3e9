"""Values as Redis returns them, checked once: a client with write access can store any value.

A bad value reads as 0, as None, or as damaged; nothing here raises.
"""

from __future__ import annotations

from typing import Annotated, Final, Generic, TypeVar

import msgspec

MOST_COUNT: Final = 2**53
"""Highest number that Lua, JSON and Prometheus hold exactly; our counters stay far below."""

_MOST_DIGITS: Final = 16
"""Digits of ``MOST_COUNT``."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_COUNT)]
"""Count, or time in Unix ms, in a packed value."""

T = TypeVar("T")


class Readable(list[T], Generic[T]):
    """The items that could be read, and the number of those that could not (``damaged``)."""

    def __init__(self, items: list[T], damaged: int) -> None:
        super().__init__(items)
        self.damaged = damaged


def count_of(value: object) -> int:
    """The value as a count: 0 where it is none, at most ``MOST_COUNT``."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        if len(value) > _MOST_DIGITS or not value.isdigit():
            return 0
        value = int(value)
    return min(max(value, 0), MOST_COUNT) if isinstance(value, int) else 0
