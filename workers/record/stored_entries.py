"""Entries and item rows of a tenant's log, read from its files in order."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from queueing.errors import ProofInvalid
from queueing.files.regular_file import open_regular
from queueing.transparency.entries import read_head
from workers.record.items import begun_outcome, decode_row, has_more
from workers.record.retention.minimum import EntriesRemoved, read_minimum, removed_sentence
from workers.record.volumes import ENTRY_LENGTH, MAX_ROW_BYTES, ROW_LENGTH, VOLUME, volumes_of

if TYPE_CHECKING:
    import struct
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from workers.record.items import ItemRow


class StoredEntries:
    """Reader of the files of one tenant's log, up to ``size`` entries: what the checkpoint covers.

    ``minimum``: the first entry that is there; those before it were removed by retention. ``rows_with_more``: item rows that were handed
    out and have more than this build reads. Raises ``ProofInvalid``, or ``OSError``.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        self.minimum = read_minimum(folder)
        self.rows_with_more = 0

    def entries(self, first: int) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of each entry from ``first`` on. Raises ``ProofInvalid`` where a file ends, or ``OSError``.

        ``EntriesRemoved``: the first one is below ``minimum``, or retention removes it meanwhile.
        """
        self._check_there(first)
        index = first - first % VOLUME
        while index < self._size:
            path = self._folder / "entries" / f"{index // VOLUME:06d}.bin"
            with self._opened(path, index) as stream:
                for _ in range(min(VOLUME, self._size - index)):
                    entry = _framed(stream, ENTRY_LENGTH, path.name)
                    if entry is None:
                        raise ProofInvalid(f"entries/{path.name} ends before entry {index}")
                    if index >= first:
                        yield index, entry
                    index += 1

    def rows(self, first: int) -> Iterator[ItemRow]:
        """Item rows of the outcomes from entry ``first`` on. Raises as ``entries`` does."""
        self._check_there(first)
        volumes = volumes_of(self._folder / "items")
        self.minimum = read_minimum(self._folder)  # what was removed before they were listed is below it
        self._check_there(first)
        for number, path in volumes:
            if not first // VOLUME <= number < -(-self._size // VOLUME):
                continue  # behind the checkpoint there may be anything
            with self._opened(path, number * VOLUME) as stream:
                while (framed := self._row_frame(stream, path.name)) is not None:
                    row = decode_row(framed)
                    if row.outcome >= self._size:
                        return
                    if row.outcome >= first:
                        self.rows_with_more += has_more(row, framed)
                        yield row

    def _row_frame(self, stream: BinaryIO, name: str) -> bytes | None:
        """The next row; None at the end, and before a row behind the checkpoint that is not whole: the sealer is writing it.

        Raises ``ProofInvalid``.
        """
        try:
            return _framed(stream, ROW_LENGTH, name)
        except FrameCut as cut:
            outcome = begun_outcome(cut.begun)
            if outcome is None or outcome >= self._size:
                return None
            raise

    def _check_there(self, first: int) -> None:
        if first < self.minimum:
            raise EntriesRemoved(removed_sentence(self.minimum))

    def _opened(self, path: Path, index: int) -> BinaryIO:
        try:
            return open_regular(path)
        except FileNotFoundError:
            self.minimum = read_minimum(self._folder)  # it may have been raised since
            self._check_there(index)
            raise

    def first_since(self, at_ms: int) -> int:
        """Index of the first entry that is not older than ``at_ms``, of those that are there; the size where there is none.

        Volumes are skipped by the time of the first entry of the next one, but for the last of them, and one that begins later
        than the next one, in which the clock was set back: that makes the range longer, never shorter.
        """
        start, before_ms = self.minimum, None
        for volume in range(self.minimum, self._size, VOLUME):
            _, entry = next(self.entries(volume))
            began_ms = read_head(entry).at_ms
            if began_ms >= at_ms:
                break
            if before_ms is not None and began_ms < before_ms:
                found = self._first_between(volume - VOLUME, volume, at_ms)
                if found is not None:
                    return found
            start, before_ms = volume, began_ms
        found = self._first_between(max(start - VOLUME, self.minimum), self._size, at_ms)
        return self._size if found is None else found

    def _first_between(self, first: int, end: int, at_ms: int) -> int | None:
        """Index of the first entry from ``first`` up to ``end`` (exclusive) that is not older than ``at_ms``."""
        for index, entry in itertools.islice(self.entries(first), end - first):
            if read_head(entry).at_ms >= at_ms:
                return index
        return None

    def end_before(self, at_ms: int) -> int:
        """Index behind the last entry that is older than ``at_ms``; 0 where there is none that is there.

        The last volume that begins before this time, the next one, and the last one of all are read: a clock that was ahead for
        less than a volume, or was just set back, makes the range longer, never shorter.
        """
        start, end = self.minimum, 0
        for volume in range(self.minimum, self._size, VOLUME):
            _, entry = next(self.entries(volume))
            if read_head(entry).at_ms < at_ms:
                start = volume
        newest = max(self._size - 1, 0)
        last = newest - newest % VOLUME
        for first, count in ((start, 2 * VOLUME), (max(last, start), VOLUME)):
            for index, entry in itertools.islice(self.entries(first), count):
                if read_head(entry).at_ms < at_ms:
                    end = index + 1
        return end


class FrameCut(ProofInvalid):
    """A file ends inside a frame; ``begun`` is what it has of the frame's content."""

    def __init__(self, name: str, at: int, begun: bytes) -> None:
        super().__init__(f"{name} is damaged or cut at byte {at}")
        self.begun = begun


def _framed(stream: BinaryIO, length: struct.Struct, name: str) -> bytes | None:
    """The next frame; None at the end of the file. Raises ``FrameCut`` where it ends before, else ``ProofInvalid``."""
    head = stream.read(length.size)
    if not head:
        return None
    data = b""
    if len(head) == length.size:
        (size,) = length.unpack(head)
        if size > MAX_ROW_BYTES:
            raise ProofInvalid(f"{name} is damaged at byte {stream.tell()}")
        data = stream.read(size)
        if len(data) == size:
            return data
    raise FrameCut(name, stream.tell(), data)
