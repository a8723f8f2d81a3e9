"""Retention of segments by the operator's policy (``[log] keep_days``, and ``[record] wal_days`` where they are sealed), never by a full disk.

A segment is removed when its last record is older than that and no claim of it is open. The newest segment always
stays, so that segment numbers never start again. Ages are counted along the log, so that a clock which is years ahead
for a while removes nothing that is not old.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import sync_folder
from workers.journal.segments import segment_number, segments_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

log = logging.getLogger("sigmill.log")

DAY_S: Final = 86400.0

MOST_GAP_S: Final = 31 * DAY_S
"""Between two segments, or the newest and now, no more time counts: a busy host begins a segment a day, and a longer gap
is a pause, or a clock that jumped. A pause keeps old segments longer, which does no harm."""

BELIEVED_GAP_S: Final = 7 * DAY_S
"""A pause that always counts. Of a retention of some weeks or months one gap counts a quarter at most."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Removed segments; ``held_back``: those that are old by the clock, but not along the log.

    ``gap_s``: longest time between two segments, or the newest and now.
    """

    removed: int = 0
    held_back: int = 0
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SealedRetention:
    """Retention of segments that the record has: those below ``below``, after ``keep_s``, apart from ``incomplete`` ones.

    ``incomplete``: numbers of segments with something that is not in the record; they are kept as without a record.
    """

    below: int
    keep_s: float
    incomplete: frozenset[int] = frozenset()


def remove_old(
    folder: Path, *, below: int, keep_s: float, now_s: float, spared: Collection[int] = ()
) -> Removal:
    """Remove segments with a number below ``below`` that were last written more than ``keep_s`` before ``now_s``.

    Those with a number in ``spared`` stay. Raises ``OSError``. O(segments).
    """
    most_gap_s = min(MOST_GAP_S, max(keep_s / 4, BELIEVED_GAP_S))
    age_s = longest_s = 0.0
    later_s, removed, held_back = now_s, 0, 0
    newest = True
    for file in reversed(segments_of(folder)):
        written_s = file.stat().st_mtime
        gap_s = max(later_s - written_s, 0.0)
        longest_s, later_s = max(longest_s, gap_s), written_s
        age_s += min(gap_s, most_gap_s)
        old = written_s < now_s - keep_s
        number = segment_number(file)
        if old and not newest and number < below and number not in spared:
            if age_s > keep_s:
                file.unlink()
                removed += 1
            else:
                held_back += 1
        newest = False
    if removed:
        sync_folder(folder)
        log.info("log.removed", extra={"segments": removed})
    return Removal(removed, held_back, longest_s)


def folder_bytes(folder: Path) -> int:
    """Size of all segments in bytes. O(segments)."""
    return sum(file.stat().st_size for file in segments_of(folder))
