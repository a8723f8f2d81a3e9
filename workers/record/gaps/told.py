"""Gaps that the logs of a host are told of: each log that is there by then, and with its first entries each log that begins later.

A log that begins behind a gap may have had its beginning there: the records that would have begun it are among those that are lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.transparency.event_entries import GapEntry

if TYPE_CHECKING:
    from workers.record.follower import Gap

MOST_GAPS: Final = 100
"""Gaps of a segment that each log tells of, and newest gaps that a log tells of which begins later: a disk that fails has thousands,
and a host may have as many tenants."""


class KnownGap(msgspec.Struct, frozen=True, array_like=True):
    """Gap that was told: its place, its reason, and whether it was the last one of its segment that is told."""

    segment: int
    first: int
    end: int
    reason: str
    more: bool = False


@dataclass(slots=True)
class ToldGaps:
    """State of what was told. ``last``: segment of the last gap, and number of its gaps so far. ``known``: the newest gaps."""

    last: tuple[int, int] = (0, 0)
    known: list[KnownGap] = field(default_factory=list)

    def tell(self, gap: Gap) -> GapEntry | None:
        """Entry for each log that there is; None where its segment has had as many as are told."""
        segment, told = self.last
        told = told + 1 if segment == gap.segment else 1
        self.last = gap.segment, told
        if told > MOST_GAPS:
            return None
        known = KnownGap(gap.segment, gap.first, gap.end, gap.reason, told == MOST_GAPS)
        self.known = [*self.known, known][-MOST_GAPS:]
        return _entry(known, gap.at_ms)

    def at_beginning(self, at_ms: int) -> list[GapEntry]:
        """Entries of a log that begins at this time, after its first one."""
        return [_entry(known, at_ms) for known in self.known]


def gap_entry(gap: Gap, reason: str) -> GapEntry:
    """Entry of a gap that one log alone tells of."""
    return _entry(KnownGap(gap.segment, gap.first, gap.end, reason), gap.at_ms)


def _entry(known: KnownGap, at_ms: int) -> GapEntry:
    return GapEntry(
        at_ms=at_ms,
        segment=known.segment,
        first=known.first,
        end=known.end,
        reason=known.reason,
        more=known.more,
    )
