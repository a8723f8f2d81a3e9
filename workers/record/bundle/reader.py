"""Reading of a bundle from an untrusted source: regular files inside its folder, and no more bytes than they may have."""

from __future__ import annotations

import os
import re
import struct
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.errors import ProofInvalid
from queueing.files.folders import each_entry, last_names
from queueing.files.regular_file import read_regular
from queueing.transparency.notes import MAX_NOTE_BYTES
from queueing.transparency.tiles import (
    MAX_ENTRY_BYTES,
    WIDTH,
    bundle_path,
    decode_bundle,
    index_path,
    split_tile,
    tile_path,
)
from workers.record.bundle.others import ORIGIN_FOLDER, unread_files
from workers.record.exchange import is_draft
from workers.record.items import decode_row, has_more
from workers.record.volumes import MAX_ROW_BYTES, ROW_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.record.bundle.others import Names
    from workers.record.items import ItemRow

_MAX_BUNDLE_BYTES: Final = WIDTH * (MAX_ENTRY_BYTES + 2)
_MAX_ITEM_BYTES: Final = 64 * 1024 * 1024
"""Rows beside 256 entries; half of them are outcomes, and one of 1,024 digests has 150 kB."""

_MAX_STATEMENT_BYTES: Final = 64 * 1024
MOST_STATEMENTS: Final = 10_000
"""One for each start of a sealer and each week."""

MOST_ORIGINS: Final = 10_000
"""One for each host of a cluster, and for each record that replaced one that was lost."""

_RANGE: Final = re.compile(r"(0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18})\n")
_NUMBER: Final = re.compile(r"(0|[1-9][0-9]{0,18})\n")


class BundleReader:
    """Files of one origin in a bundle. Every method raises ``ProofInvalid`` with the file's name for what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder
        # The bundle may be a link of the user's; the folder of an origin in it is part of what is not trusted.
        self._real = os.path.join(os.path.realpath(folder.parent), folder.name)  # noqa: PTH118 - of a resolved name
        self._last_tiles: dict[int, tuple[str, list[bytes]]] = {}
        self.rows_with_more = 0
        """Item rows so far that have more than this build reads."""

    def checkpoint(self) -> bytes:
        """The signed checkpoint, not verified."""
        return self._read("checkpoint", MAX_NOTE_BYTES)

    def log(self) -> bytes:
        """Whole name of the log with a newline, as the file ``origin`` has it; not proven."""
        return self._read("origin", MAX_NOTE_BYTES)

    def range(self) -> tuple[int, int]:
        """First entry, and the end (exclusive)."""
        data = self._read("range", 64)
        found = _RANGE.fullmatch(data.decode("ascii", "replace"))
        if found is None or int(found[1]) > int(found[2]):
            raise ProofInvalid(f"{self.name}/range is not two numbers in order")
        return int(found[1]), int(found[2])

    def minimum(self) -> int:
        """First entry that the host still had at the export; 0 where it says nothing. Not proven."""
        if not os.path.lexists(self._folder / "minimum"):
            return 0  # of a former version
        found = _NUMBER.fullmatch(self._read("minimum", 64).decode("ascii", "replace"))
        if found is None:
            raise ProofInvalid(f"{self.name}/minimum is not a number")
        return int(found[1])

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """Hashes of a tile. The last one of each level above 0 is kept: it is asked for once for each of its 256 hashes."""
        path = tile_path(level, index, width)
        name, hashes = self._last_tiles.get(level, ("", []))
        if name == path:
            return hashes
        data = self._read(path, WIDTH * 32)
        try:
            hashes = split_tile(data, width)
        except ProofInvalid as error:
            raise ProofInvalid(f"{self.name}/{path}: {error.message}") from None
        if level:
            self._last_tiles[level] = path, hashes
        return hashes

    def entries(self, index: int, width: int) -> list[bytes]:
        """Entries of a bundle of ``width`` entries."""
        path = bundle_path(index, width)
        data = self._read(path, _MAX_BUNDLE_BYTES)
        try:
            return decode_bundle(data, width)
        except ProofInvalid as error:
            raise ProofInvalid(f"{self.name}/{path}: {error.message}") from None

    def rows(self, index: int) -> list[ItemRow]:
        """Item rows of the outcomes in a bundle, in the order of these; none where the file is missing.

        At most one for each of its 256 entries: a row of a few bytes takes many times its size in memory.
        """
        path = f"items/{index_path(index)}"
        if not os.path.lexists(self._folder / path):
            self._check_folders_of(path)
            return []
        data = self._read(path, _MAX_ITEM_BYTES)
        rows: list[ItemRow] = []
        offset = 0
        while offset < len(data):
            try:
                (length,) = ROW_LENGTH.unpack_from(data, offset)
            except struct.error:
                length = MAX_ROW_BYTES + 1
            offset += ROW_LENGTH.size
            if length > MAX_ROW_BYTES or offset + length > len(data):
                raise ProofInvalid(f"{self.name}/{path} is damaged or cut at byte {offset}")
            try:
                row = data[offset : offset + length]
                rows.append(decode_row(row))
                self.rows_with_more += has_more(rows[-1], row)
            except ProofInvalid as error:
                raise ProofInvalid(f"{self.name}/{path} at byte {offset}: {error.message}") from None
            offset += length
            if len(rows) > WIDTH or rows[-1].outcome <= (rows[-2].outcome if len(rows) > 1 else -1):
                raise ProofInvalid(
                    f"{self.name}/{path} has more than one row for an outcome, or is not in order"
                )
        return rows

    def statements(self) -> Iterator[tuple[str, bytes]]:
        """Names and bytes of signed statements about the keys of checkpoints, not verified; the newest ``MOST_STATEMENTS``.

        Drafts, which an export that was killed has left, are none.
        """
        try:
            names = last_names(self._folder / "statements", MOST_STATEMENTS)
        except OSError as error:
            raise ProofInvalid(f"{self.name}/statements cannot be read: {error.strerror}") from None
        for name in names:
            if is_draft(name):
                continue
            yield f"statements/{name}", self._read(f"statements/{name}", _MAX_STATEMENT_BYTES)

    def unread(self, size: int, first: int, end: int) -> Names:
        """Files that are no part of a log of ``size`` entries, of which ``first`` up to ``end`` (exclusive) are here: nothing reads them."""
        try:
            return unread_files(self._folder, size, first, end)
        except OSError as error:
            raise ProofInvalid(f"{self.name} cannot be read: {error.strerror}") from None

    def _check_folders_of(self, name: str) -> None:
        """Check that a missing file is not behind something that is no folder, as a pipe or a link to nowhere in its place."""
        for above in reversed(Path(name).parents[:-1]):
            place = self._folder / above
            if place.is_symlink() or (os.path.lexists(place) and not place.is_dir()):
                raise ProofInvalid(f"{self.name}/{above} is no folder")

    def _read(self, name: str, most: int) -> bytes:
        path = self._folder / name
        if os.path.realpath(path) != os.path.join(self._real, *name.split("/")):  # noqa: PTH118 - of a resolved name
            raise ProofInvalid(f"{self.name}/{name} is a link, or leads out of the bundle")
        try:
            return read_regular(path, largest_bytes=most)
        except OSError as error:
            raise ProofInvalid(f"{self.name}/{name} cannot be read: {error.strerror}") from None


def origins_of(bundle: Path) -> list[BundleReader]:
    """Origins in a bundle, by name. Raises ``ProofInvalid`` where there is none, or more than ``MOST_ORIGINS``, or ``OSError``."""
    names = (each.name for each in each_entry(bundle) if ORIGIN_FOLDER.fullmatch(each.name))
    found = nsmallest(MOST_ORIGINS + 1, names)
    if not found:
        raise ProofInvalid(f"{bundle} has no folder of an origin (16 hex digits)")
    if len(found) > MOST_ORIGINS:
        raise ProofInvalid(f"{bundle} has more than {MOST_ORIGINS:,} folders of origins: verify it in parts")
    return [BundleReader(bundle / name) for name in found]
