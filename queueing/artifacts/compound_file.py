"""OLE compound files ([MS-CFB]): reading of their streams, strictly and without following a loop.

Of streams only their places are kept; the small ones, which share the mini stream, are read at once.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from queueing.artifacts.streams import read_exactly, span
from queueing.errors import ArtifactInvalid

if TYPE_CHECKING:
    from typing import BinaryIO

MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
END_OF_CHAIN: Final = 0xFFFFFFFE
FREE: Final = 0xFFFFFFFF
HEADER_BYTES: Final = 512
HEADER: Final = struct.Struct("<8s16sHHHHH6xIIIIIIIII")
"""2.2: magic, CLSID, versions, byte order, shifts, then counts and places: directory, FAT, directory, transaction, cutoff,
mini FAT (2), DIFAT (2)."""

DIRECTORY_ENTRY: Final = struct.Struct("<64sHBBIII16sI8s8sIQ")
"""2.6.1: name, its bytes, type, color, left, right, child, CLSID, state, created, modified, start, size."""

STORAGE: Final = 1
STREAM: Final = 2
ROOT: Final = 5
CUTOFF_BYTES: Final = 4096
MINI_SECTOR_BYTES: Final = 64
LARGEST_BYTES: Final = 0x7FFFFF00
"""Behind it version 4 has its range lock sector, and Windows Installer takes no larger package."""

_MOST_ENTRIES: Final = 1 << 20
_MOST_DEPTH: Final = 32
_MOST_MINI_STREAM_BYTES: Final = 256 << 20
_MOST_FAT_BYTES: Final = 4 * (LARGEST_BYTES // 512)
"""An entry of four bytes for each sector of the largest file; memory has the table at once."""

_IN_HEADER: Final = 109
_LARGEST_SECTOR: Final = 0xFFFFFFFA


def damaged(problem: str) -> ArtifactInvalid:
    """The error of a damaged compound file."""
    return ArtifactInvalid(f"the compound file is damaged: {problem}")


class DirectoryEntry(NamedTuple):
    """An entry of the directory, as it is in the file (2.6.1); ``name_bytes`` includes the end of the name."""

    name: bytes
    name_bytes: int
    kind: int
    color: int
    left: int
    right: int
    child: int
    clsid: bytes
    state: int
    created: bytes
    modified: bytes
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A storage or a stream. ``name``: UTF-16LE without its end; ``content``: of a small stream, else it is in ``runs``."""

    name: bytes
    kind: int
    clsid: bytes
    state: int
    created: bytes
    modified: bytes
    size_bytes: int
    content: bytes
    runs: tuple[tuple[int, int], ...]
    """Start and end of each piece in the file."""

    children: tuple[Entry, ...]

    def pieces(self, stream: BinaryIO) -> Iterator[bytes]:
        """The stream's content."""
        yield self.content
        for start, end in self.runs:
            yield from span(stream, start, end)


@dataclass(frozen=True, slots=True)
class CompoundFile:
    """A compound file: its version (3 or 4), and its root storage."""

    version: int
    root: Entry


def read_compound_file(stream: BinaryIO, size_bytes: int) -> CompoundFile:
    """Read directory and places. Raises ``ArtifactInvalid``."""
    if size_bytes > LARGEST_BYTES - (1 << 20):
        raise ArtifactInvalid(f"the file has {size_bytes} bytes; Windows Installer takes no package of 2 GiB")
    return _Reader(stream, size_bytes).read()


class _Reader:
    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self.size_bytes = size_bytes
        raw = read_exactly(stream, 0, HEADER_BYTES)
        fields = HEADER.unpack_from(raw)
        magic, _, _, self._version, order, shift, mini_shift = fields[:7]
        _, self._fat_count, self._directory_at, _, cutoff = fields[7:12]
        self._mini_fat_at, _, difat_at, _ = fields[12:]
        if magic != MAGIC or order != 0xFFFE:
            raise ArtifactInvalid("this is no compound file, as MSI files are: it has another beginning")
        if (self._version, shift) not in {(3, 9), (4, 12)} or (mini_shift, cutoff) != (6, CUTOFF_BYTES):
            raise damaged("its version or its sizes of sectors are unknown")
        self._sector_bytes = 1 << shift
        self._most_sectors = size_bytes // self._sector_bytes + 1
        self._fat = self._read_fat(array("I", raw[HEADER.size :]), difat_at)

    def read(self) -> CompoundFile:
        directory = b"".join(self._sectors(self._directory_at, _MOST_ENTRIES * DIRECTORY_ENTRY.size))
        entries = [DirectoryEntry._make(each) for each in DIRECTORY_ENTRY.iter_unpack(directory)]
        if not entries or entries[0].kind != ROOT:
            raise damaged("it has no root entry")
        mini_bytes = self.size_of(entries[0])
        if mini_bytes > _MOST_MINI_STREAM_BYTES:
            raise damaged("its mini stream is too large")
        mini = b"".join(self._sectors(entries[0].start, _MOST_MINI_STREAM_BYTES)) if mini_bytes else b""
        most_bytes = 4 * _MOST_MINI_STREAM_BYTES // MINI_SECTOR_BYTES
        mini_fat = array("I", b"".join(self._sectors(self._mini_fat_at, most_bytes)))
        tree = _Tree(self, entries, mini, mini_fat)
        return CompoundFile(self._version, tree.storage(0, 0))

    def size_of(self, entry: DirectoryEntry) -> int:
        """Size of a stream. Of version 3 the upper half may be garbage (2.6.1)."""
        return entry.size & 0xFFFFFFFF if self._version == 3 else entry.size

    def runs(self, start: int, size_bytes: int) -> tuple[tuple[int, int], ...]:
        """Places of a stream's pieces, those in a row together."""
        found: list[list[int]] = []
        left = size_bytes
        for sector in self._chain(start):
            at = (sector + 1) * self._sector_bytes
            length = min(left, self._sector_bytes)
            if found and found[-1][1] == at:
                found[-1][1] = at + length
            else:
                found.append([at, at + length])
            left -= length
            if not left:
                break
        if left or any(end > self.size_bytes for _, end in found):
            raise damaged("a stream is shorter than its size says")
        return tuple((start, end) for start, end in found)

    def _read_fat(self, places: array[int], difat_at: int) -> array[int]:
        most = self._most_sectors
        if self._fat_count > min(most, _MOST_FAT_BYTES // self._sector_bytes):
            raise damaged("its allocation table is larger than the file")
        seen = 0
        while difat_at < _LARGEST_SECTOR and len(places) < self._fat_count:
            sector = array("I", self._sector(difat_at))
            places.extend(sector[:-1])
            difat_at = sector[-1]
            seen += 1
            if seen > most:
                raise damaged("its allocation table has a loop")
        if len(places) < self._fat_count:
            raise damaged("parts of its allocation table are missing")
        return array("I", b"".join(self._sector(place) for place in places[: self._fat_count]))

    def _sector(self, number: int) -> bytes:
        """One sector; the last one of the file may be cut."""
        at = (number + 1) * self._sector_bytes
        if number >= _LARGEST_SECTOR or at >= self.size_bytes:
            raise damaged("a sector is behind its end")
        raw = read_exactly(self._stream, at, min(self._sector_bytes, self.size_bytes - at))
        return raw.ljust(self._sector_bytes, b"\0")

    def _sectors(self, start: int, most_bytes: int) -> Iterator[bytes]:
        """The sectors of a chain that is read at once."""
        for count, number in enumerate(self._chain(start), 1):
            if count * self._sector_bytes > most_bytes:
                raise damaged("its directory, its mini stream or the table of it is too large")
            yield self._sector(number)

    def _chain(self, start: int) -> Iterator[int]:
        count = 0
        while start != END_OF_CHAIN:
            if start >= len(self._fat) or count > self._most_sectors:
                raise damaged("a chain of sectors leads to nowhere, or is a loop")
            yield start
            start = self._fat[start]
            count += 1


class _Tree:
    """Storages and streams, from the entries of the directory."""

    def __init__(
        self, reader: _Reader, entries: list[DirectoryEntry], mini: bytes, mini_fat: array[int]
    ) -> None:
        self._reader = reader
        self._entries = entries
        self._mini = mini
        self._mini_fat = mini_fat
        self._seen: set[int] = set()
        self._left_bytes = reader.size_bytes

    def storage(self, number: int, depth: int) -> Entry:
        """A storage with all that is in it."""
        if depth > _MOST_DEPTH:
            raise damaged("its storages are nested too deeply")
        children = tuple(self._entry(child, depth) for child in self._siblings(self._entries[number].child))
        if len({child.name for child in children}) != len(children):
            raise damaged("a storage has two entries of one name")
        return self._made(number, children=children)

    def _entry(self, number: int, depth: int) -> Entry:
        if self._entries[number].kind == STORAGE:
            return self.storage(number, depth + 1)
        if self._entries[number].kind != STREAM:
            raise damaged("an entry of its directory is neither storage nor stream")
        size, start = self._reader.size_of(self._entries[number]), self._entries[number].start
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise damaged("its streams have more bytes than the file: they overlap")
        if not size:
            return self._made(number)
        if size < CUTOFF_BYTES:
            return self._made(number, size_bytes=size, content=self._small(start, size))
        return self._made(number, size_bytes=size, runs=self._reader.runs(start, size))

    def _made(
        self,
        number: int,
        *,
        size_bytes: int = 0,
        content: bytes = b"",
        runs: tuple[tuple[int, int], ...] = (),
        children: tuple[Entry, ...] = (),
    ) -> Entry:
        raw = self._entries[number]
        if raw.name_bytes % 2 or not 2 <= raw.name_bytes <= 64:
            raise damaged("a name of its directory has an impossible length")
        return Entry(
            name=raw.name[: raw.name_bytes - 2],
            kind=raw.kind,
            clsid=raw.clsid,
            state=raw.state,
            created=raw.created,
            modified=raw.modified,
            size_bytes=size_bytes,
            content=content,
            runs=runs,
            children=children,
        )

    def _siblings(self, top: int) -> Iterator[int]:
        """Numbers of the entries in a storage's tree."""
        waiting = [top]
        while waiting:
            number = waiting.pop()
            if number == FREE:
                continue
            if number >= len(self._entries) or number in self._seen or not number:
                raise damaged("its directory is no tree")
            self._seen.add(number)
            waiting += (self._entries[number].left, self._entries[number].right)
            yield number

    def _small(self, start: int, size_bytes: int) -> bytes:
        found, left = [], size_bytes
        while left > 0:
            at = start * MINI_SECTOR_BYTES
            if start >= len(self._mini_fat) or at >= len(self._mini):
                raise damaged("a small stream is shorter than its size says")
            found.append(self._mini[at : at + min(left, MINI_SECTOR_BYTES)])
            left -= MINI_SECTOR_BYTES
            start = self._mini_fat[start]
        content = b"".join(found)
        if len(content) != size_bytes:
            raise damaged("a small stream is shorter than its size says")
        return content
