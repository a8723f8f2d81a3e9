"""Acknowledged bytes of segments: what is behind them in a file was never durable for its caller.

The head of the next segment of the same process says how many bytes of a segment count, where the writer abandoned it after
a failed write. For the segment in use the file ``acknowledged`` says so, where processes follow the log: it is written
after each sync and is not synced itself, so that after a power cut it may be old, but never ahead.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from queueing.files.regular_file import read_whole, regular_descriptor
from workers.journal.records import OpenedRecord, decode_record
from workers.journal.segments import read_segment, segment_number
from workers.journal.unreadable import UNREADABLE
from workers.journal.unreadable_places import raise_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from workers.journal.unreadable_places import UnreadablePlaces

FILE_NAME: Final = "acknowledged"
_PLACE: Final = struct.Struct(">QQ")
"""Number of the segment, and bytes of it."""

_CRC: Final = struct.Struct(">I")
"""CRC-32 of the place, behind it."""


class Acknowledged(NamedTuple):
    """End of what is durable: number of a segment, and bytes of it."""

    segment: int
    size_bytes: int


class AcknowledgedFile:
    """Writer of the file. One system call each time; the caller may ignore errors: no result depends on it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._descriptor: int | None = None

    def write(self, segment: int, size_bytes: int) -> None:
        """Say that the log is durable up to here. Raises ``OSError``."""
        if self._descriptor is None:
            self._descriptor = regular_descriptor(self._path, os.O_WRONLY | os.O_CREAT)
        place = _PLACE.pack(segment, size_bytes)
        os.pwrite(self._descriptor, place + _CRC.pack(zlib.crc32(place)), 0)

    def close(self) -> None:
        """Close the file. Raises ``OSError``."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def read_acknowledged(folder: Path) -> Acknowledged | None:
    """End of what is durable; None where the file is missing or is being written. Raises ``OSError``."""
    try:
        data = read_whole(folder / FILE_NAME)
    except FileNotFoundError:
        return None
    place, crc = data[: _PLACE.size], data[_PLACE.size :]
    if crc != _CRC.pack(zlib.crc32(place)) or len(place) != _PLACE.size:
        return None
    return Acknowledged(*_PLACE.unpack(place))


def acknowledged_ends(files: Iterable[Path], *, places: UnreadablePlaces | None = None) -> dict[int, int]:
    """Bytes that count, by number of segment; a segment that is not in it counts whole. One small read per file.

    A head that the disk does not give says nothing, as a damaged one; with ``places`` see ``given_head``. Raises ``OSError``.
    """
    ends: dict[int, int] = {}
    for file in files:
        try:
            head = given_head(file, places)
        except FileNotFoundError:  # removed meanwhile, and with it only the end of one that is older
            continue
        if head is not None and head.previous is not None:
            number, size_bytes = head.previous
            ends[number] = size_bytes
    return ends


def given_head(file: Path, places: UnreadablePlaces | None = None) -> OpenedRecord | None:
    """First record of a segment; None where it is damaged, or the disk does not give it.

    With ``places`` the latter raises ``SegmentUnreadable`` until it is given up. Raises ``OSError`` for all other errors.
    """
    try:
        return head_of(file)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        if places is not None and not places.is_given_up(segment_number(file), 0):
            raise_unreadable(error, file, 0)
        return None


def head_of(file: Path) -> OpenedRecord | None:
    """First record of a segment; None where it cannot be read. Raises ``OSError``."""
    payload = next(read_segment(file), None)
    if payload is None:
        return None
    try:
        head = decode_record(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return head if isinstance(head, OpenedRecord) else None
