"""Findings of a verification: problems, and counts of what was verified."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from workers.record.bundle.lane_sums import LaneSums
from workers.record.bundle.others import Names

MOST_BACK_MS: Final = 10_000
"""A record waits for others of its group, and for a slow disk, for seconds; a clock that is adjusted moves by less than one."""

MOST_SET_BACK: Final = 20
"""Places that are told of one log."""

MOST_LOST: Final = 100
"""Places of one log at which something was lost that are told; further ones are counted."""

_OF_FORMER_TIMES: Final = frozenset(
    {"key", "login", "config", "order", "outcome", "gap", "without-intent", "of a later version"}
)
"""Kinds of entries that may have waited for a worker, be copies after a crash, or have the time of such an entry: their times
say nothing of the clock.
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A thing that is wrong: its code, its place (origin, and entry where there is one), and a sentence."""

    code: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.code} {self.place} {self.what}"


@dataclass(frozen=True, slots=True)
class ClockSetBack:
    """Entry whose time is before that of an earlier entry, by more than ``MOST_BACK_MS``: the host's clock was set. Unix ms."""

    entry: int
    before_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Entry that tells that something is in no entry, or lacks what must be before it: ``code``, and a sentence."""

    entry: int
    code: str
    what: str


@dataclass(slots=True)
class Verified:
    """Counts of what was verified: entries, signatures with a client's signature verified, by kind of entry.

    ``log``: the origin as the checkpoint has it, ``size`` its entries; ``first`` and ``end`` (exclusive) the range. ``from_ms`` and
    ``to_ms``: earliest and latest time of its entries (Unix ms), None without one.
    ``granted``: signatures under grants. ``unproven``: envelopes of jobs in doubt whose intents, which commit to them, are before the
    range. ``unended``: jobs whose end is not in the range; ``minimum``: entries before it had been removed at the export, as the bundle says.
    ``set_back``: the first ``MOST_SET_BACK`` places where the host's clock was set back. ``losses``: number of entries that tell of
    something that was lost; ``lost``: the first ``MOST_LOST`` of them. ``unread``: files in its folder that are no part of it;
    ``rows_with_more``: item rows that have more than this build reads. Nothing vouches for either.
    """

    log: str = ""
    size: int = 0
    first: int = 0
    end: int = 0
    from_ms: int | None = None
    to_ms: int | None = None
    entries: int = 0
    signatures: int = 0
    client_signatures: int = 0
    granted: int = 0
    unproven: int = 0
    unended: int = 0
    minimum: int = 0
    set_back: list[ClockSetBack] = field(default_factory=list)
    losses: int = 0
    lost: list[Lost] = field(default_factory=list)
    unread: Names = field(default_factory=Names)
    rows_with_more: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    lanes: LaneSums = field(default_factory=LaneSums)
    _clock_ms: int | None = None

    def count(self, index: int, kind: str, at_ms: int) -> None:
        """Count an entry of this kind and time."""
        self.kinds[kind] += 1
        if kind not in _OF_FORMER_TIMES:
            self._watch_clock(index, at_ms)
        if self.from_ms is None or at_ms < self.from_ms:
            self.from_ms = at_ms
        if self.to_ms is None or at_ms > self.to_ms:
            self.to_ms = at_ms

    def lose(self, lost: Lost) -> None:
        """Count an entry that tells of something that was lost."""
        self.losses += 1
        if len(self.lost) < MOST_LOST:
            self.lost.append(lost)

    def _watch_clock(self, index: int, at_ms: int) -> None:
        """Compare with the latest time since the clock was last set back."""
        before = self._clock_ms
        if before is None or at_ms > before:
            self._clock_ms = at_ms
        elif at_ms < before - MOST_BACK_MS:
            self._clock_ms = at_ms
            if len(self.set_back) < MOST_SET_BACK:
                self.set_back.append(ClockSetBack(index, before, at_ms))
