"""Block of up to 256 entries of a tenant's log, held against its hashes: the entries' own, and the one above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from queueing.transparency.merkle import HASH_BYTES, leaf_hash, root_of
from queueing.transparency.tiles import WIDTH
from workers.record.volumes import VOLUME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.record.stored_hashes import StoredHashes


class DamagedPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Damaged place of a tenant's log: ``file`` in its folder, and the first entry concerned.

    ``offset``: byte in the file; None in a file of entries, whose entries have lengths of their own.
    """

    file: str
    entry: int
    offset: int | None = None

    def __str__(self) -> str:
        at = "" if self.offset is None else f", byte {self.offset}"
        return f"{self.file}{at}: entry {self.entry}"


def damage_of_block(hashes: StoredHashes, block: int, entries: Sequence[bytes]) -> list[DamagedPlace]:
    """Places of block ``block`` (entries from ``256 * block`` on) where entries and stored hashes differ.

    Of a whole block the hash above tells whether the entry or its hash is damaged; of the last one the entry is named. About a microsecond an entry.
    Raises ``ProofInvalid`` where hashes are missing, ``EntriesRemoved``, or ``OSError``.
    """
    first, volume = block * WIDTH, f"{block * WIDTH // VOLUME:06d}.bin"
    leaves = [leaf_hash(entry) for entry in entries]
    stored = hashes.hashes(0, first, len(leaves))
    above_holds = len(leaves) == WIDTH and root_of(leaves) == hashes.hashes(1, block, 1)[0]
    if leaves == stored:
        if above_holds or len(leaves) < WIDTH:
            return []
        return [DamagedPlace(file="level1.bin", entry=first, offset=block * HASH_BYTES)]
    differ = [number for number, leaf in enumerate(leaves, first) if leaf != stored[number - first]]
    if above_holds:
        return [
            DamagedPlace(file=f"level0/{volume}", entry=number, offset=number % VOLUME * HASH_BYTES)
            for number in differ
        ]
    return [DamagedPlace(file=f"entries/{volume}", entry=number) for number in differ]
