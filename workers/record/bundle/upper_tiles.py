"""Tiles of level 2 and above in a bundle: each of their hashes is the root of a full tile of the level below.

The root of the tree is computed without them, so that only this comparison finds a damaged one. Readers of the layout (tlog-tiles)
build proofs from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import root_of
from queueing.transparency.tiles import WIDTH, tile_path, tiles_of
from workers.record.bundle.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tiles(Protocol):
    """Tiles of one origin, by level, index and width."""

    @property
    def name(self) -> str:
        """Name of the origin."""

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """Hashes of a tile. Raises ``ProofInvalid`` with the file's name."""


def upper_problems(tiles: Tiles, size: int) -> Iterator[Problem]:
    """Problems of the tiles of level 2 and above of a tree with ``size`` leaves, one for each tile. An export has all of them.

    Two tiles are in memory at once.
    """
    for level, index, width in tiles_of(size):
        if level < 2:
            continue
        try:
            wrong = _wrong_hash(tiles, level, index, width)
        except ProofInvalid as error:
            yield Problem("tree.tile", tiles.name, error.message)
            continue
        if wrong is not None:
            below = tile_path(level - 1, wrong)
            what = f"hash {wrong % WIDTH} of {tile_path(level, index, width)} is not the root of {below}"
            yield Problem("tree.tile", tiles.name, what)


def _wrong_hash(tiles: Tiles, level: int, index: int, width: int) -> int | None:
    """Index of the first tile below this one whose root is not the hash that this one has for it."""
    for below, stored in enumerate(tiles.tile(level, index, width), index * WIDTH):
        if root_of(tiles.tile(level - 1, below, WIDTH)) != stored:
            return below
    return None
