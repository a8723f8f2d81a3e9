"""Names in a bundle that its verification does not read: nothing vouches for what is there."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.files.folders import entries, entries_below
from queueing.transparency.tiles import WIDTH, bundle_path, index_path, tile_path

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN_FOLDER: Final = re.compile(r"[0-9a-f]{16}")
"""Names of the folders of logs in a bundle."""

README: Final = "README"
_PARTS: Final = frozenset({"checkpoint", "items", "minimum", "origin", "range", "statements", "tile"})
"""Names in the folder of an origin."""

_INDEX: Final = r"((?:x[0-9]{3}/){0,6}[0-9]{3})"
_ITEMS: Final = re.compile(f"items/{_INDEX}")
_TILE: Final = re.compile(rf"tile/(entries|[0-9])/{_INDEX}(?:\.p/[0-9]{{1,3}})?")


def others_in(bundle: Path) -> list[str]:
    """Names in a bundle, and in the folders of its origins, that are not ours: nothing reads them. Raises ``OSError``."""
    others = []
    for each in entries(bundle):
        if not ORIGIN_FOLDER.fullmatch(each.name):
            others += [each.name] if each.name != README else []
        elif each.is_dir() and not each.is_symlink():
            others += [f"{each.name}/{inside.name}" for inside in entries(each) if inside.name not in _PARTS]
    return others


def unread_files(origin: Path, size: int, first: int, end: int) -> list[str]:
    """Files below ``items`` and ``tile`` of an origin that are no part of a log of ``size`` entries, of which ``first`` up to ``end`` are here.

    An earlier export into the same folder leaves such files. Raises ``OSError``.
    """
    return [
        name
        for name in _files(origin)
        if not (_is_items(name, first, end) or _is_tile(name, size, first, end))
    ]


def _files(origin: Path) -> Iterator[str]:
    """Names of all that is no folder, below the two folders."""
    for folder in (origin / "items", origin / "tile"):
        if folder.is_dir() and not folder.is_symlink():
            for file in entries_below(folder):
                if not stat.S_ISDIR(file.lstat().st_mode):
                    yield file.relative_to(origin).as_posix()
        elif folder.is_symlink() or folder.exists():
            yield folder.name


def _blocks(first: int, end: int) -> range:
    return range(first // WIDTH, -(-end // WIDTH))


def _index(text: str) -> int:
    return int(text.replace("x", "").replace("/", ""))


def _is_items(name: str, first: int, end: int) -> bool:
    found = _ITEMS.fullmatch(name)
    if found is None:
        return False
    index = _index(found[1])
    return index in _blocks(first, end) and index_path(index) == found[1]


def _is_tile(name: str, size: int, first: int, end: int) -> bool:
    """Whether it is a tile of hashes or entries that belongs to the range, to the right edge, or to a level above."""
    found = _TILE.fullmatch(name)
    if found is None:
        return False
    kind, index = found[1], _index(found[2])
    level = 0 if kind == "entries" else int(kind)
    width = min(WIDTH, size // WIDTH**level - index * WIDTH)
    if width < 1:
        return False
    if kind == "entries":
        return index in _blocks(first, end) and bundle_path(index, width) == name
    is_needed = level > 0 or width < WIDTH or index in _blocks(first, end)
    return is_needed and tile_path(level, index, width) == name
