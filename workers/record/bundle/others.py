"""Names in a bundle that its verification does not read: nothing vouches for what is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.files.folders import each_entry, names_below
from queueing.transparency.tiles import WIDTH, bundle_path, index_path, tile_path
from workers.record.exchange import STATEMENTS, is_draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ORIGIN_FOLDER: Final = re.compile(r"[0-9a-f]{16}")
"""Names of the folders of logs in a bundle."""

README: Final = "README"
_PARTS: Final = frozenset({"checkpoint", "items", "minimum", "origin", "range", STATEMENTS, "tile"})
"""Names in the folder of an origin."""

MOST_OTHERS: Final = 100
MOST_UNREAD: Final = 20
"""Names that are told, of a bundle and of each origin; an export that was killed leaves some."""

_DEEPEST: Final = 8
"""Folders above the deepest of our files, below ``tile``: ``entries``, six of an index, and ``NNN.p``."""

_INDEX: Final = r"((?:x[0-9]{3}/){0,6}[0-9]{3})"
_ITEMS: Final = re.compile(f"items/{_INDEX}")
_TILE: Final = re.compile(rf"tile/(entries|[0-9])/{_INDEX}(?:\.p/([0-9]{{1,3}}))?")


@dataclass(frozen=True, slots=True)
class Names:
    """Names that nothing reads: the first of them in their order, and how many there are."""

    first: tuple[str, ...] = ()
    count: int = 0


def others_in(bundle: Path) -> Names:
    """Names in a bundle, and in the folders of its origins, that are not ours: nothing reads them. Raises ``OSError``."""
    return _first(_others(bundle), MOST_OTHERS)


def unread_files(origin: Path, size: int, first: int, end: int) -> Names:
    """Files below ``items`` and ``tile`` of an origin that are no part of a log of ``size`` entries, of which ``first`` up to ``end`` are here; drafts of statements.

    An export that was killed leaves such files. Of folders that lie deeper than ours only the top is named. Raises ``OSError``.
    """
    return _first(unread_names(origin, size, first, end), MOST_UNREAD)


def unread_names(origin: Path, size: int, first: int, end: int) -> Iterator[str]:
    """All names of which ``unread_files`` tells the first, in the order of the disk. Raises ``OSError``."""
    return (
        name
        for name in _files(origin)
        if not (_is_items(name, first, end) or _is_tile(name, size, first, end))
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Stretch of its log, from entry ``first`` up to ``end`` (exclusive), of a file that an export writes; whether entries or items are in it.

    Of items no more than their bundle of 256 is known: ``end`` is the entry behind the first one of it.
    """

    first: int
    end: int
    has_entries: bool


def place_of(name: str) -> Place | None:
    """Place of a file below ``items`` or ``tile`` by its name; None for a name that no export gives."""
    items, tile = _ITEMS.fullmatch(name), _TILE.fullmatch(name)
    if items is not None:
        index = _index(items[1])
        first = index * WIDTH
        return Place(first, first + 1, has_entries=True) if name == f"items/{index_path(index)}" else None
    if tile is None:
        return None
    kind, index, width = tile[1], _index(tile[2]), int(tile[3] or WIDTH)
    if not 0 < width <= WIDTH:
        return None
    has_entries = kind == "entries"
    level = 0 if has_entries else int(kind)
    first, end = index * WIDTH ** (level + 1), (index * WIDTH + width) * WIDTH**level
    ours = bundle_path(index, width) if has_entries else tile_path(level, index, width)
    return Place(first, end, has_entries) if name == ours else None


def _first(names: Iterable[str], most: int) -> Names:
    """The first names, of any number: a bundle from outside may have millions, and no more than these are in memory."""
    count = 0

    def counted() -> Iterator[str]:
        nonlocal count
        for name in names:
            count += 1
            yield name

    first = nsmallest(most, counted())
    return Names(tuple(first), count)


def _others(bundle: Path) -> Iterator[str]:
    for each in each_entry(bundle):
        if not ORIGIN_FOLDER.fullmatch(each.name):
            if each.name != README:
                yield each.name
        elif each.is_dir(follow_symlinks=False):
            for inside in each_entry(bundle / each.name):
                if inside.name not in _PARTS:
                    yield f"{each.name}/{inside.name}"


def _files(origin: Path) -> Iterator[str]:
    """Names of all that is no folder, below the two folders, and of drafts of statements."""
    for folder in (origin / "items", origin / "tile"):
        if folder.is_dir() and not folder.is_symlink():
            for name in names_below(folder, _DEEPEST):
                yield f"{folder.name}/{name}"
        elif folder.is_symlink() or folder.exists():
            yield folder.name
    if (origin / STATEMENTS).is_dir() and not (origin / STATEMENTS).is_symlink():
        for each in each_entry(origin / STATEMENTS):
            if is_draft(each.name):
                yield f"{STATEMENTS}/{each.name}"


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
