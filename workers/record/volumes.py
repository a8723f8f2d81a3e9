"""Files of one tenant's log: entries, items and hashes of the tree, in volumes of 65,536 entries.

::

    entries/000000.bin   entries, each with its length as u16 big endian before it
    items/000000.bin     item rows of the outcomes in the volume, each with its length as u32 big endian before it
    level0/000000.bin    leaf hashes, 32 bytes each
    level1.bin, ...      hashes of the full tiles below (256, 65,536, ... entries each)
    checkpoint           newest signed head of the tree

A volume that is full never changes again. All but ``checkpoint`` only grow; after a crash they are cut to what a
``Position`` says, and written again from the write-ahead log. Blocks: for a process or thread of its own.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.durable_file import make_folder, sync_folder
from queueing.files.folders import entries, is_there
from queueing.files.regular_file import regular_descriptor
from queueing.transparency.merkle import HASH_BYTES, TreeEdge, leaf_hash
from queueing.transparency.tiles import HEIGHT, WIDTH
from workers.record.disk.misplaced import make_way

if TYPE_CHECKING:
    from pathlib import Path

VOLUME: Final = 65_536
"""Entries of a volume: one full tile of level 1."""

ENTRY_LENGTH: Final = struct.Struct(">H")
MAX_ENTRY_BYTES: Final = 65_535
ROW_LENGTH: Final = struct.Struct(">I")
MAX_ROW_BYTES: Final = 1024 * 1024
"""More than the row of 1,024 digests; a longer length is damage."""

_VOLUME_NAME: Final = re.compile(r"[0-9]{6,18}\.bin")
_LEVEL: Final = re.compile(r"level([1-9])\.bin")


class RecordDamaged(Exception):
    """The record's own files, or the write-ahead log behind it, are damaged or were set back: sealing on would change what
    was signed before.
    """


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """End of a log: its entries, the right edge of its tree, and the bytes of its open volume's files."""

    size: int
    subtrees: list[bytes]
    entry_bytes: int
    item_bytes: int


EMPTY: Final = Position(size=0, subtrees=[], entry_bytes=0, item_bytes=0)


class TenantLog:
    """Writer of one tenant's log. ``position`` is its end, with what is not written yet."""

    def __init__(self, folder: Path, position: Position = EMPTY) -> None:
        self.folder = folder
        self.size = position.size
        self._edge = TreeEdge(position.size, list(position.subtrees))
        self._entry_bytes = position.entry_bytes
        self._item_bytes = position.item_bytes
        self._new_entries: list[bytes] = []
        self._new_rows: list[bytes] = []
        self._unwritten: defaultdict[str, list[bytes]] = defaultdict(list)
        self._unsynced: set[str] = set()

    @property
    def position(self) -> Position:
        """End of the log."""
        self._hash_new()
        return Position(
            size=self._edge.size,
            subtrees=list(self._edge.subtrees),
            entry_bytes=self._entry_bytes,
            item_bytes=self._item_bytes,
        )

    def root(self) -> bytes:
        """Root of the tree at its present size."""
        self._hash_new()
        return self._edge.root()

    def append(self, entry: bytes, row: bytes | None = None) -> None:
        """Append an entry, and the item row beside it; ``write`` puts them into files."""
        if self.size % VOLUME == 0:
            self._hash_new()
            self._entry_bytes = self._item_bytes = 0
        self.size += 1
        self._new_entries.append(entry)
        if row is not None:
            self._new_rows.append(row)

    def _hash_new(self) -> None:
        """Hash the new entries, all of one volume, and prepare the bytes for its files; at once, as each alone costs twice the time."""
        if not self._new_entries:
            return
        volume = f"{self._edge.size // VOLUME:06d}.bin"
        entries = b"".join([ENTRY_LENGTH.pack(len(entry)) + entry for entry in self._new_entries])
        rows = b"".join([ROW_LENGTH.pack(len(row)) + row for row in self._new_rows])
        hashes = self._edge.extend([leaf_hash(entry) for entry in self._new_entries])
        self._new_entries.clear()
        self._new_rows.clear()
        self._entry_bytes += len(entries)
        self._item_bytes += len(rows)
        self._unwritten[f"entries/{volume}"].append(entries)
        if rows:
            self._unwritten[f"items/{volume}"].append(rows)
        self._unwritten[f"level0/{volume}"] += hashes[0]
        for level in range(HEIGHT, len(hashes), HEIGHT):
            if hashes[level]:
                self._unwritten[f"level{level // HEIGHT}.bin"] += hashes[level]

    def write(self) -> None:
        """Append everything to its files, not synced. Raises ``OSError``: the log is then to be cut and made again."""
        self._hash_new()
        for name, parts in self._unwritten.items():
            path = self.folder / name
            if not path.exists():
                make_folder(path.parent)
            _append(path, b"".join(parts))
            self._unsynced.add(name)
        self._unwritten.clear()
        self._open = None

    def sync(self) -> None:
        """Make everything that was written durable. Raises ``OSError``."""
        folders = set()
        for name in sorted(self._unsynced):
            path = self.folder / name
            _sync(path)
            folders.add(path.parent)
        for folder in folders:
            sync_folder(folder)
        self._unsynced.clear()

    def cut(self) -> None:
        """Cut the files to this position: what is behind it was written after the last sync.

        Anything else than a file, in a place where nothing was synced, is put out of the way (``make_way``). Raises
        ``RecordDamaged`` where synced bytes are missing, or ``OSError``.
        """
        size = self._edge.size
        # A volume that begins exactly at the end has no bytes yet; the one before it is whole.
        volume, inside = divmod(size, VOLUME)
        # Hashes first: a reader who sees no entry sees no hash, and knows that both are made again.
        if volume and not inside and not is_there(self.folder / "level0"):
            raise RecordDamaged(f"{self.folder / 'level0'} is missing")
        lengths = {"level0": inside * HASH_BYTES, "entries": self._entry_bytes, "items": self._item_bytes}
        for kind, length in lengths.items():
            if inside and length and not is_there(self.folder / kind / f"{volume:06d}.bin"):
                raise RecordDamaged(f"{self.folder / kind}/{volume:06d}.bin is missing")
            _check_folder(self.folder / kind, was_synced=volume > 0)
            for number, file in volumes_of(self.folder / kind):
                if number > volume:
                    _remove(file)
                elif number == volume:
                    _cut(file, length if inside else 0)
        for file in entries(self.folder, suffix=".bin", missing_ok=True):
            level = _LEVEL.fullmatch(file.name)
            if level is not None:
                _cut(file, (size // WIDTH ** int(level[1])) * HASH_BYTES)


def volumes_of(folder: Path) -> list[tuple[int, Path]]:
    """Volumes of one kind with their numbers, in order; none without the folder. Files of other names are not ours. Raises ``OSError``."""
    files = entries(folder, suffix=".bin", missing_ok=True)
    return sorted((int(file.stem), file) for file in files if _VOLUME_NAME.fullmatch(file.name))


def _append(path: Path, data: bytes) -> None:
    descriptor = regular_descriptor(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = regular_descriptor(path)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _cut(path: Path, length: int) -> None:
    """Cut a file. Something else in its place, such as a pipe, is put out of the way before anything was synced, and damage after that."""
    try:
        found = path.stat()
        size, regular = found.st_size, stat.S_ISREG(found.st_mode)
    except FileNotFoundError:  # a link to nothing
        size, regular = 0, False
    if size < length or (length and not regular):
        raise RecordDamaged(f"{path} has {size} bytes, and {length} were synced")
    if regular:
        os.truncate(path, length)
    else:
        make_way(path)


def _remove(path: Path) -> None:
    if stat.S_ISDIR(path.lstat().st_mode):
        make_way(path)
    else:
        path.unlink()


def _check_folder(folder: Path, *, was_synced: bool) -> None:
    """Put out of the way what has the name of a folder of volumes and is none; it is damage where volumes of it may have been synced."""
    if not os.path.lexists(folder) or (is_there(folder) and stat.S_ISDIR(folder.stat().st_mode)):
        return
    if was_synced:
        raise RecordDamaged(f"{folder} is not a folder")
    make_way(folder)
