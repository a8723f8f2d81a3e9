"""Tiles and entry bundles: paths and contents as C2SP's tlog-tiles has them, of height 8.

A tile of level L holds up to 256 hashes, each over 256**L leaves; an entry bundle up to 256 entries, each with its length
as u16 big endian before it. The last ones of a level are partial and carry their width in the path (``.p/W``).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Protocol

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import HASH_BYTES, root_of

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 256
"""Hashes of a full tile, entries of a full bundle."""

HEIGHT: Final = 8
"""Levels of the tree in one tile: two to the power of this is ``WIDTH``."""

MAX_ENTRY_BYTES: Final = 65_535
_LENGTH: Final = struct.Struct(">H")


def index_path(index: int) -> str:
    """Index of a tile as path elements of three digits, all but the last with an ``x``: 1234067 is ``x001/x234/067``."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Path of a tile below the log's prefix."""
    return f"tile/{level}/{index_path(index)}{_partial(width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Path of an entry bundle below the log's prefix."""
    return f"tile/entries/{index_path(index)}{_partial(width)}"


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, index and width of every tile of a tree with ``size`` leaves; those of level 0 first."""
    level = 0
    while size:
        for index in range(size // WIDTH):
            yield level, index, WIDTH
        if size % WIDTH:
            yield level, size // WIDTH, size % WIDTH
        size //= WIDTH
        level += 1


def encode_bundle(entries: list[bytes]) -> bytes:
    """Bytes of an entry bundle. Raises ``ValueError`` for an entry of more than 65,535 bytes."""
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes; a bundle holds at most {MAX_ENTRY_BYTES}")
    return b"".join([_LENGTH.pack(len(entry)) + entry for entry in entries])


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The ``width`` entries of a bundle. Raises ``ProofInvalid`` where bytes are missing or left over."""
    entries: list[bytes] = []
    offset = 0
    for number in range(width):
        start = offset + _LENGTH.size
        if start > len(data):
            raise ProofInvalid(f"the bundle ends after {number} of {width} entries")
        offset = start + _LENGTH.unpack_from(data, offset)[0]
        if offset > len(data):
            raise ProofInvalid(f"the bundle ends within entry {number} of {width}")
        entries.append(data[start:offset])
    if offset != len(data):
        raise ProofInvalid(f"the bundle has {len(data) - offset} bytes after its {width} entries")
    return entries


def split_tile(data: bytes, width: int) -> list[bytes]:
    """The ``width`` hashes of a tile. Raises ``ProofInvalid`` for another length."""
    if len(data) != width * HASH_BYTES:
        raise ProofInvalid(f"the tile has {len(data)} bytes, not {width * HASH_BYTES} ({width} hashes)")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


class Tiles(Protocol):
    """Tiles of one tree."""

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """The ``width`` hashes of a tile. Raises ``ProofInvalid`` where it is missing or of another length."""


class TileHashes:
    """``SubtreeHashes`` from the tiles of a tree with ``size`` leaves. Not verified against a root."""

    def __init__(self, tiles: Tiles, size: int) -> None:
        self._tiles = tiles
        self._size = size

    def subtree(self, level: int, index: int) -> bytes:
        """Root of a complete subtree. Raises ``ProofInvalid`` as the tiles do."""
        tile_level, above = divmod(level, HEIGHT)
        number, start = divmod(index << above, WIDTH)
        width = min(WIDTH, (self._size >> (tile_level * HEIGHT)) - number * WIDTH)
        tile = self._tiles.tile(tile_level, number, width)
        return root_of(tile[start : start + (1 << above)])


def _partial(width: int) -> str:
    return "" if width == WIDTH else f".p/{width}"
