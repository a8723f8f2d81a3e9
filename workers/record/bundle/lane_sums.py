"""Sums of C_Sign calls in a bundle: each lane's end against the entries before it, and calls beside signatures by key version."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from queueing.errors import ProofInvalid
from queueing.transparency.event_entries import LaneEndedEntry, LaneOperationsEntry, LaneStartedEntry

MOST_LANES: Final = 200_000
"""Lanes that are remembered at once; those that start beyond are not held against their ends."""

MOST_KEYS: Final = 10_000
"""Key versions that are counted one by one; a tenant has some tens. Those beyond are counted together, under no name."""

LaneEntry = LaneStartedEntry | LaneOperationsEntry | LaneEndedEntry


@dataclass(slots=True)
class LaneSums:
    """Lanes of one origin so far. ``calls``, ``signed``: by key and version; ``in_doubt``: digests that ended lanes did not answer.

    A lane whose start is before the bundle's range is in ``calls``, and its end is not checked. ``running``: lanes without an
    end, whose last minute may be in no entry.
    """

    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    signed: Counter[tuple[str, int]] = field(default_factory=Counter)
    in_doubt: int = 0
    _of: dict[bytes, int] = field(default_factory=dict)
    _ended: dict[bytes, int] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Number of lanes that have started and not ended."""
        return len(self._of)

    def add(self, index: int, entry: LaneEntry) -> None:
        """Count an entry of a lane. Raises ``ProofInvalid`` where the entries of the lane do not fit together."""
        lane, name = entry.lane, entry.lane.hex()[:8]
        ended = self._ended.get(lane)
        if ended is not None:
            raise ProofInvalid(f"it is of lane {name}…, which has ended at entry {ended}")
        match entry:
            case LaneStartedEntry():
                if lane in self._of:
                    raise ProofInvalid(f"lane {name}… starts a second time")
                if len(self._of) < MOST_LANES:
                    self._of[lane] = 0
            case LaneOperationsEntry():
                for key, version, calls in entry.operations:
                    self.calls[_counted(self.calls, key, version)] += calls
                    if lane in self._of:
                        self._of[lane] += calls
            case LaneEndedEntry():
                self._end(index, entry, name)

    def add_signed(self, key: str, version: int, signatures: int) -> None:
        """Count signatures with a key version."""
        self.signed[_counted(self.signed, key, version)] += signatures

    def _end(self, index: int, entry: LaneEndedEntry, name: str) -> None:
        self.in_doubt += entry.in_doubt
        calls = self._of.pop(entry.lane, None)
        if len(self._ended) < MOST_LANES:
            self._ended[entry.lane] = index
        if calls is not None and calls != entry.calls:
            raise ProofInvalid(
                f"lane {name}… has made {entry.calls:,} calls of C_Sign by its end, and the entries before have {calls:,}"
            )


def _counted(counts: Counter[tuple[str, int]], key: str, version: int) -> tuple[str, int]:
    """The key version, or the one under which those beyond the first ``MOST_KEYS`` are counted."""
    return (key, version) if len(counts) < MOST_KEYS or (key, version) in counts else ("", 0)
