"""OLE compound files ([MS-CFB]): writing of a whole file from its storages and streams.

Every stream is one run of sectors. The tree of each storage is balanced, and all black (2.6.4 names that the simplest way).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.artifacts.compound_file import (
    CUTOFF_BYTES,
    DIRECTORY_ENTRY,
    END_OF_CHAIN,
    FREE,
    HEADER,
    MAGIC,
    MINI_SECTOR_BYTES,
    STREAM,
    CompoundFile,
    DirectoryEntry,
    Entry,
)

if TYPE_CHECKING:
    from typing import BinaryIO

_FAT_SECTOR: Final = 0xFFFFFFFD
_DIFAT_SECTOR: Final = 0xFFFFFFFC
_IN_HEADER: Final = 109
_BLACK: Final = 1
_MINOR_VERSION: Final = 0x3E


def write_compound_file(file: CompoundFile, stream: BinaryIO, to: BinaryIO) -> None:
    """Write the file to the beginning of ``to``; the content of large streams is copied from ``stream``."""
    _Writer(file, stream, to).write()


@dataclass(slots=True)
class _Placed:
    """An entry of the directory with its place among the others."""

    entry: Entry
    left: int = FREE
    right: int = FREE
    child: int = FREE
    start: int = END_OF_CHAIN
    size_bytes: int = 0


@dataclass(slots=True)
class _Writer:
    file: CompoundFile
    stream: BinaryIO
    to: BinaryIO
    _fat: array[int] = field(default_factory=lambda: array("I"))
    _mini: bytearray = field(default_factory=bytearray)
    _mini_fat: array[int] = field(default_factory=lambda: array("I"))
    _placed: list[_Placed] = field(default_factory=list)

    @property
    def _sector_bytes(self) -> int:
        return 512 if self.file.version == 3 else 4096

    def write(self) -> None:
        self.to.write(bytes(self._sector_bytes))  # the header, which is known at the end
        root = _Placed(self.file.root)
        self._placed.append(root)
        self._place_children(root)
        for placed in self._placed:
            if placed.entry.kind == STREAM and placed.entry.size_bytes:
                self._write_stream(placed)
        root.start, root.size_bytes = self._sectors((bytes(self._mini),)), len(self._mini)
        mini_fat_at = self._sectors((self._mini_fat.tobytes(),), fill=b"\xff")
        mini_fat_sectors = -(-4 * len(self._mini_fat) // self._sector_bytes)
        before = len(self._fat)
        directory_at = self._sectors((self._directory(),))
        directory_sectors = len(self._fat) - before
        fat_places, difat_places = self._write_fat()
        self.to.seek(0)
        self.to.write(
            HEADER.pack(
                MAGIC,
                bytes(16),
                _MINOR_VERSION,
                self.file.version,
                0xFFFE,
                self._sector_bytes.bit_length() - 1,
                MINI_SECTOR_BYTES.bit_length() - 1,
                0 if self.file.version == 3 else directory_sectors,
                len(fat_places),
                directory_at,
                0,
                CUTOFF_BYTES,
                mini_fat_at,
                mini_fat_sectors,
                difat_places[0] if difat_places else END_OF_CHAIN,
                len(difat_places),
            )
        )
        in_header = fat_places[:_IN_HEADER]
        self.to.write(array("I", [*in_header, *[FREE] * (_IN_HEADER - len(in_header))]).tobytes())

    def _place_children(self, parent: _Placed) -> None:
        children = [_Placed(child) for child in sorted(parent.entry.children, key=tree_order)]
        first = len(self._placed)
        self._placed += children
        parent.child = _balanced(children, first, 0, len(children))
        for child in children:
            if child.entry.children:
                self._place_children(child)

    def _write_stream(self, placed: _Placed) -> None:
        placed.size_bytes = placed.entry.size_bytes
        pieces = placed.entry.pieces(self.stream)
        if placed.size_bytes >= CUTOFF_BYTES:
            placed.start = self._sectors(pieces)
            return
        placed.start = len(self._mini_fat)
        content = b"".join(pieces)
        self._mini += content + bytes(-len(content) % MINI_SECTOR_BYTES)
        _extend(self._mini_fat, len(self._mini) // MINI_SECTOR_BYTES - placed.start)

    def _sectors(self, pieces: Iterable[bytes], *, fill: bytes = b"\0") -> int:
        """Write pieces as one chain of sectors; return its first one."""
        start, size = len(self._fat), 0
        for piece in pieces:
            self.to.write(piece)
            size += len(piece)
        self.to.write(fill * (-size % self._sector_bytes))
        _extend(self._fat, -(-size // self._sector_bytes))
        return start if size else END_OF_CHAIN

    def _directory(self) -> bytes:
        entries = b"".join(_packed(placed) for placed in self._placed)
        unused = DIRECTORY_ENTRY.pack(
            bytes(64), 0, 0, 0, FREE, FREE, FREE, bytes(16), 0, bytes(8), bytes(8), 0, 0
        )
        missing = -len(entries) % self._sector_bytes // len(unused)
        return entries + unused * missing

    def _write_fat(self) -> tuple[list[int], list[int]]:
        """Write the allocation table and its own table; return the places of both."""
        per_sector = self._sector_bytes // 4
        content, fats, difats = len(self._fat), 0, 0
        while True:  # both have entries in the table themselves
            needed = -(-(content + fats + difats) // per_sector)
            needed_difats = -(-max(0, needed - _IN_HEADER) // (per_sector - 1))
            if (needed, needed_difats) == (fats, difats):
                break
            fats, difats = needed, needed_difats
        places = list(range(content, content + fats))
        difat_places = list(range(content + fats, content + fats + difats))
        self._fat.extend([_FAT_SECTOR] * fats + [_DIFAT_SECTOR] * difats)
        self._fat.extend([FREE] * (fats * per_sector - len(self._fat)))
        self.to.write(self._fat.tobytes())
        rest = places[_IN_HEADER:]
        for i, _ in enumerate(difat_places):
            part = rest[i * (per_sector - 1) : (i + 1) * (per_sector - 1)]
            next_place = difat_places[i + 1] if i + 1 < difats else END_OF_CHAIN
            part += [FREE] * (per_sector - 1 - len(part))
            self.to.write(array("I", [*part, next_place]).tobytes())
        return places, difat_places


def tree_order(entry: Entry) -> tuple[int, list[int]]:
    """Place of an entry among those of its storage, by its name."""
    return name_order(entry.name)


def name_order(name: bytes) -> tuple[int, list[int]]:
    """Order of names in a storage (2.6.4): by length, then by upper-case UTF-16 code units. Equal ones are one name."""
    units = struct.unpack(f"<{len(name) // 2}H", name)
    return len(units), [_upper(unit) for unit in units]


def _upper(unit: int) -> int:
    upper = chr(unit).upper()
    return ord(upper) if len(upper) == 1 and ord(upper) <= 0xFFFF else unit


def _balanced(children: list[_Placed], first: int, low: int, high: int) -> int:
    """Make a balanced tree of sorted children; return the number of its top."""
    if low >= high:
        return FREE
    middle = (low + high) // 2
    children[middle].left = _balanced(children, first, low, middle)
    children[middle].right = _balanced(children, first, middle + 1, high)
    return first + middle


def _extend(table: array[int], count: int) -> None:
    """Add a chain of so many sectors in a row."""
    if count:
        start = len(table)
        table.extend(range(start + 1, start + count))
        table.append(END_OF_CHAIN)


def _packed(placed: _Placed) -> bytes:
    entry = placed.entry
    return DIRECTORY_ENTRY.pack(
        *DirectoryEntry(
            name=entry.name,
            name_bytes=len(entry.name) + 2,
            kind=entry.kind,
            color=_BLACK,
            left=placed.left,
            right=placed.right,
            child=placed.child,
            clsid=entry.clsid,
            state=entry.state,
            created=entry.created,
            modified=entry.modified,
            start=placed.start if placed.size_bytes else (0 if placed.entry.children else END_OF_CHAIN),
            size=placed.size_bytes,
        )
    )
