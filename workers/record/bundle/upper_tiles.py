"""Tiles of level 2 and above in a bundle: each of their hashes is that of the tree which the entries and hashes below have.

The root of the tree is computed without them, so that only this comparison finds a damaged one. Readers of the layout (tlog-tiles)
build proofs from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from queueing.errors import ProofInvalid
from queueing.transparency.tiles import HEIGHT, WIDTH, tile_path
from workers.record.bundle.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Tiles(Protocol):
    """Tiles of one origin, by level, index and width."""

    @property
    def name(self) -> str:
        """Name of the origin."""

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """Hashes of a tile. Raises ``ProofInvalid`` with the file's name."""


class UpperTiles:
    """Tiles of level 2 and above of a tree with ``size`` leaves, while it grows to that size. An export has all of them."""

    def __init__(self, tiles: Tiles, size: int) -> None:
        self._tiles = tiles
        self._size = size
        self._told: dict[int, int] = {}  # of each level: index of the last tile with a problem

    def problems(self, size: int, completed: Sequence[bytes], height: int = 0) -> Iterator[Problem]:
        """Problems that show when the tree has this size, one for each tile.

        ``completed``: roots of the subtrees that its last leaf has completed, from those of 2 to the power of ``height`` leaves on.
        """
        for above, computed in enumerate(completed, height):
            level, inside = divmod(above, HEIGHT)
            if level < 2 or inside:
                continue
            index, number = divmod((size >> above) - 1, WIDTH)
            if self._told.get(level) == index:
                continue
            what = self._difference(level, index, number, computed)
            if what:
                self._told[level] = index
                yield Problem("tree.tile", self._tiles.name, what)

    def _difference(self, level: int, index: int, number: int, computed: bytes) -> str:
        """Sentence that says what is wrong with a hash of a tile; empty where it is the computed one."""
        width = min(WIDTH, (self._size >> level * HEIGHT) - index * WIDTH)
        try:
            stored = self._tiles.tile(level, index, width)[number]
        except ProofInvalid as error:
            return error.message
        if stored == computed:
            return ""
        below = tile_path(level - 1, index * WIDTH + number)
        return f"hash {number} of {tile_path(level, index, width)} is not the root of {below}"
