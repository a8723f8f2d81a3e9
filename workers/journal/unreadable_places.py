"""Places of the write-ahead log that the disk does not give: tried again for a time, and then read around.

A lost sector stays lost, and behind it the record of every tenant would stand still, or the start of a worker; a disk that is away comes back. So a place is given
up when it could not be read for ``GIVE_UP_S``. What was given up is known for as long as the process runs: a later one tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.journal.segments import read_frames, segment_number
from workers.journal.unreadable import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.journal.damage import Damage

GIVE_UP_S: Final = 600.0
"""Longer than most paths to a disk take to fail over."""

LEAST_TRIES: Final = 10
"""Tries within that time: a process that was stopped meanwhile has tried nothing."""

RETRY_S: Final = 10.0
"""Time between two tries."""


class SegmentUnreadable(OSError):
    """The disk does not give the frame at ``offset`` of a segment. ``size_bytes``: size of its file."""

    def __init__(self, error: OSError, *, segment: int, offset: int, size_bytes: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.segment = segment
        self.offset = offset
        self.size_bytes = size_bytes


class UnreadablePlaces:
    """The place that fails now, and stretches of segments that were given up."""

    def __init__(self) -> None:
        self._failing: tuple[int, int] | None = None
        self._since_s = 0.0
        self._tries = 0
        self._given_up: list[tuple[int, range]] = []

    @property
    def fails(self) -> bool:
        """Whether a place fails that is not given up yet."""
        return self._failing is not None

    def failed(self, error: SegmentUnreadable, now_s: float) -> bool:
        """Note a try; whether it was the first one of this place. ``now_s`` is monotonic."""
        place = error.segment, error.offset
        if self.is_given_up(*place):
            return False  # it is read around as soon as reading begins there
        if place != self._failing:
            self._failing, self._since_s, self._tries = place, now_s, 0
        self._tries += 1
        if self._tries >= LEAST_TRIES and now_s - self._since_s >= GIVE_UP_S:
            stretch = range(error.offset, max(error.size_bytes, error.offset + 1))
            self._given_up.append((error.segment, stretch))
            self._failing = None
        return self._tries == 1

    def passed(self, segment: int, offset: int) -> None:
        """Note that everything before this place was read: the tries of one that failed there are forgotten."""
        if self._failing is not None and (segment, offset) > self._failing:
            self._failing = None

    def is_given_up(self, segment: int, offset: int) -> bool:
        """Whether what cannot be read from this place on is to be skipped."""
        return any(number == segment and offset in stretch for number, stretch in self._given_up)


def raise_unreadable(error: OSError, file: Path, offset: int) -> None:
    """Raise ``SegmentUnreadable`` for an error of a read which says that the disk does not give these bytes."""
    if error.errno in UNREADABLE:
        size_bytes = file.stat().st_size
        raise SegmentUnreadable(
            error, segment=segment_number(file), offset=offset, size_bytes=size_bytes
        ) from error


def read_past(
    file: Path, damage: list[Damage], *, end: int | None = None, places: UnreadablePlaces | None = None
) -> Iterator[bytes]:
    """Payloads of a segment in order, as of ``read_segment``; what the disk does not give is damage, too.

    With ``places`` it raises ``SegmentUnreadable`` there until they give it up. Raises ``OSError`` for all other errors.
    """
    offset = 0
    try:
        for behind, payload in read_frames(file, damage, end=end):
            offset = behind
            yield payload
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        if places is not None and not places.is_given_up(segment_number(file), offset):
            raise_unreadable(error, file, offset)
    else:
        return
    for _, payload in read_frames(file, damage, start=offset, end=end, around=[]):
        yield payload
