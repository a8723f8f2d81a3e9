"""Check of the files of one tenant's log: entries against their hashes, hashes against those above, items against the entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.transparency.entries import EndEntry, IntentEntry, OutcomeEntry, decode_entry
from queueing.transparency.merkle import HASH_BYTES, TreeEdge
from queueing.transparency.receipts import tenant_of_origin
from queueing.transparency.tiles import HEIGHT, WIDTH
from workers.record.bundle.claims import Claims, Expected
from workers.record.bundle.findings import Verified
from workers.record.integrity.blocks import DamagedPlace, damage_of_block
from workers.record.retention.minimum import EntriesRemoved
from workers.record.stored_entries import StoredEntries
from workers.record.stored_hashes import StoredHashes
from workers.record.volumes import VOLUME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.entries import Entry
    from workers.record.items import ItemRow


class LogCheck:
    """Check of one log up to a checkpoint, whose signature is not verified. Only reads.

    ``damage``: what was found so far. An entry that was changed costs nothing but itself: what refers to it is not blamed.
    """

    def __init__(self, folder: Path, checkpoint: Checkpoint) -> None:
        self._size = checkpoint.size
        self._root = checkpoint.root
        self._stored = StoredEntries(folder, checkpoint.size)
        self._hashes = StoredHashes(folder)
        self._first = self._stored.minimum
        self._upper = TreeEdge()
        expected = Expected(tenant=tenant_of_origin(checkpoint.origin), audiences=(), clients=None)
        self._claims = Claims(expected, self._first, Verified())
        self._changed: set[int] = set()
        self.damage: list[DamagedPlace] = []

    def run(self) -> Iterator[None]:
        """Check on, entry by entry. Ends early where retention removes volumes meanwhile. What cannot be read is damage."""
        try:
            for block in range(self._first // WIDTH):
                self._append_above(block)
                yield
            for volume in range(self._first, self._size, VOLUME):
                yield from self._volume(volume, min(volume + VOLUME, self._size))
            self._check_root()
        except EntriesRemoved:
            return
        except (ProofInvalid, OSError):  # of levels: files of entries and items are looked after below
            self.damage.append(DamagedPlace(file="hashes", entry=self._upper.size * WIDTH))

    def _volume(self, first: int, end: int) -> Iterator[None]:
        """Check the files of one volume. Behind a damaged length nothing of the file can be told apart, and its hashes stand for it."""
        rows, broken_rows = self._rows(first, end), False
        row: ItemRow | None = None
        block: list[tuple[bytes, ItemRow | None]] = []
        entries = self._stored.entries(first)
        for index in range(first, end):
            try:
                _, data = next(entries)
            except EntriesRemoved:
                raise
            except (ProofInvalid, OSError):
                self._damaged("entries", index)
                self._changed.update(range(index - len(block), end))
                for number in range((index - len(block)) // WIDTH, end // WIDTH):
                    self._append_above(number)
                return
            if not broken_rows and (row is None or row.outcome < index):
                try:
                    row = next(rows, None)
                except EntriesRemoved:
                    raise
                except (ProofInvalid, OSError):
                    broken_rows = True
                    self._damaged("items", index)
            block.append((data, row if row is not None and row.outcome == index else None))
            if len(block) == WIDTH or index == end - 1:
                yield from self._block(index + 1 - len(block), block, with_items=not broken_rows)
                block = []

    def _rows(self, first: int, end: int) -> Iterator[ItemRow]:
        for row in self._stored.rows(first):
            if row.outcome >= end:
                return
            yield row

    def _block(
        self, first: int, block: list[tuple[bytes, ItemRow | None]], *, with_items: bool
    ) -> Iterator[None]:
        """Check a block by its hashes, and then the items beside its entries; which entries were changed is known by then."""
        found = damage_of_block(self._hashes, first // WIDTH, [data for data, _ in block])
        self.damage += found
        self._changed.update(each.entry for each in found if each.file.startswith("entries"))
        if len(block) == WIDTH:
            self._append_above(first // WIDTH)
        for index, (data, row) in enumerate(block, first):
            if with_items and index not in self._changed:
                self._claim(index, data, row)
            yield

    def _append_above(self, block: int) -> None:
        """Append the stored hash of a block, and compare what it completes with the levels above."""
        completed = self._upper.append(self._hashes.hashes(1, block, 1)[0])
        for height in range(HEIGHT, len(completed), HEIGHT):
            level, number = 1 + height // HEIGHT, (self._upper.size >> height) - 1
            if self._hashes.hashes(level, number, 1)[0] != completed[height]:
                place = DamagedPlace(
                    file=f"level{level}.bin",
                    entry=(number << height) * WIDTH,
                    offset=number * HASH_BYTES,
                )
                self.damage.append(place)

    def _check_root(self) -> None:
        edge = TreeEdge(self._upper.size * WIDTH, list(self._upper.subtrees))
        rest = self._size - edge.size
        for leaf in self._hashes.hashes(0, edge.size, rest) if rest else []:
            edge.append(leaf)
        if edge.root() != self._root and not self.damage:
            self.damage.append(DamagedPlace(file="level1.bin or checkpoint", entry=self._size - 1))

    def _claim(self, index: int, data: bytes, row: ItemRow | None) -> None:
        """Check the items beside an entry. What is wrong with the entry itself is found by its hash."""
        entry: Entry | None = None
        try:
            entry = decode_entry(data)
            match entry:
                case IntentEntry():
                    self._claims.begin(index, entry)
                case OutcomeEntry():
                    self._claims.outcome(entry, row)
                case EndEntry():
                    self._claims.end(index, entry, row)
        except ProofInvalid:
            if isinstance(entry, OutcomeEntry | EndEntry) and entry.intent not in self._changed:
                self._damaged("items", index)

    def _damaged(self, kind: str, index: int) -> None:
        self.damage.append(DamagedPlace(file=f"{kind}/{index // VOLUME:06d}.bin", entry=index))
