"""Hashes of a tenant's tree, read from its files: what proofs are built from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.files.regular_file import regular_descriptor
from queueing.transparency.merkle import HASH_BYTES, TreeEdge
from queueing.transparency.tiles import HEIGHT
from workers.record.retention.minimum import EntriesRemoved, read_minimum, removed_sentence
from workers.record.volumes import VOLUME

if TYPE_CHECKING:
    from pathlib import Path


class StoredHashes:
    """``SubtreeHashes`` of a tenant's files. At most 256 hashes are read for one subtree."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def subtree(self, level: int, index: int) -> bytes:
        """Root of a complete subtree. Raises ``ProofInvalid`` where the files are shorter, or ``OSError``."""
        tile_level, above = divmod(level, HEIGHT)
        edge = TreeEdge()
        for each in self.hashes(tile_level, index << above, 1 << above):
            edge.append(each)
        return edge.root()

    def hashes(self, tile_level: int, first: int, count: int) -> list[bytes]:
        """``count`` hashes of a level of tiles from number ``first`` on; those of level 0 lie in one volume.

        Raises ``EntriesRemoved`` for level 0 of a volume that retention has removed, ``ProofInvalid``, or ``OSError``.
        """
        if tile_level:
            path, start = self._folder / f"level{tile_level}.bin", first
        else:
            path, start = self._folder / "level0" / f"{first // VOLUME:06d}.bin", first % VOLUME
        try:
            descriptor = regular_descriptor(path)
        except FileNotFoundError:
            minimum = read_minimum(self._folder)
            if tile_level or first >= minimum:
                raise
            raise EntriesRemoved(removed_sentence(minimum)) from None
        try:
            data = os.pread(descriptor, count * HASH_BYTES, start * HASH_BYTES)
        finally:
            os.close(descriptor)
        if len(data) != count * HASH_BYTES:
            raise ProofInvalid(f"{path.name} ends before hash {first + count}")
        return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
