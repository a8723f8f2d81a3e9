"""Findings of a verification: problems, and counts of what was verified."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from workers.record.bundle.lane_sums import LaneSums


@dataclass(frozen=True, slots=True)
class Problem:
    """A thing that is wrong: its code, its place (origin, and entry where there is one), and a sentence."""

    code: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.code} {self.place} {self.what}"


@dataclass(slots=True)
class Verified:
    """Counts of what was verified: entries, signatures with a client's signature verified, by kind of entry.

    ``log``: the origin as the checkpoint has it, ``size`` its entries; ``first`` and ``end`` (exclusive) the range. ``from_ms`` and
    ``to_ms``: earliest and latest time of its entries (Unix ms), None without one.
    ``granted``: signatures under grants. ``unproven``: envelopes of jobs in doubt whose intents, which commit to them, are before the
    range. ``unended``: jobs whose end is not in the range; ``minimum``: entries before it had been removed at the export, as the bundle says.
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
    kinds: Counter[str] = field(default_factory=Counter)
    lanes: LaneSums = field(default_factory=LaneSums)

    def count(self, kind: str, at_ms: int) -> None:
        """Count an entry of this kind and time."""
        self.kinds[kind] += 1
        if self.from_ms is None or at_ms < self.from_ms:
            self.from_ms = at_ms
        if self.to_ms is None or at_ms > self.to_ms:
            self.to_ms = at_ms
