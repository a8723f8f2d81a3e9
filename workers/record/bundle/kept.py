"""Kept checkpoints: heads of a log that an auditor kept outside of the service, held against the log in a bundle."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from queueing.transparency.merkle import EMPTY_ROOT
from workers.record.bundle.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.merkle import TreeEdge


class KeptCheckpoints:
    """Kept checkpoints of one log, that of ``head``; those of others are left out. ``place``: of the log in the bundle."""

    def __init__(self, kept: Sequence[Checkpoint], head: Checkpoint, place: str) -> None:
        ours = [each for each in kept if each.origin == head.origin]
        self._place = place
        self._size = head.size
        self._larger = sorted({each.size for each in ours if each.size > head.size})
        self._roots: dict[int, set[bytes]] = {}
        for each in ours:
            if each.size <= head.size:
                self._roots.setdefault(each.size, set()).add(each.root)

    def at_start(self) -> Iterator[Problem]:
        """Problems that show before an entry is read: the log was longer once."""
        for size in self._larger:
            what = f"rolled back: the checkpoint that was kept has {size} entries, and this log {self._size}"
            yield Problem("kept.rolled_back", self._place, what)
        yield from self._compare(0, EMPTY_ROOT)

    def at(self, edge: TreeEdge) -> Iterator[Problem]:
        """Compare the tree at its present size with what was kept of this size."""
        if edge.size in self._roots:
            yield from self._compare(edge.size, edge.root())

    def at_end(self) -> Iterator[Problem]:
        """Checkpoints that were compared with nothing: inside a block of which only the hash is in the bundle."""
        for size in sorted(self._roots):
            what = (
                f"the checkpoint that was kept has {size} entries, and the entries around number {size} are not here: export a time"
                " that they are in"
            )
            yield Problem("kept.not_compared", self._place, what)

    def _compare(self, size: int, root: bytes) -> Iterator[Problem]:
        kept = self._roots.pop(size, set())
        if any(not hmac.compare_digest(root, each) for each in kept):
            what = f"the first {size} entries are other ones than those of the checkpoint that was kept"
            yield Problem("kept.forked", self._place, what)
