"""Calls of C_Sign by key version: a lane counts them, and the worker sums what its lanes report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from workers.journal.event_records import KeyOperations

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_KEYS: Final = 1024
"""Key versions that are counted each; a lane names them itself. Calls with further ones have an empty name."""


MOST_CALLS: Final = 2**53
"""Highest sum, which a record can hold (``KeyOperations``): a lane may report any number, and calls beyond are not counted."""


class OperationCounts:
    """Sums of calls. ``total`` only grows; ``take`` empties the sums by key."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, int]] = Counter()
        self.total = 0

    def add(self, operations: Iterable[KeyOperations]) -> None:
        """Add calls to the sums."""
        for each in operations:
            if not each.calls:
                continue
            known = (each.key, each.version) in self._calls or len(self._calls) < MOST_KEYS
            key = (each.key, each.version) if known else ("", 0)
            self._calls[key] = min(self._calls[key] + each.calls, MOST_CALLS)
            self.total = min(self.total + each.calls, MOST_CALLS)

    def take(self) -> tuple[KeyOperations, ...]:
        """The sums since the last call of this, by name."""
        calls, self._calls = self._calls, Counter()
        return tuple(KeyOperations(key, version, count) for (key, version), count in sorted(calls.items()))
