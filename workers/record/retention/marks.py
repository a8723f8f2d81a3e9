"""Marks of a log: the size that it had at a time of the record's clock, one a day at most, in the file ``marks`` of the log.

An entry is at least as old as the first mark that covers it. A mark that is lost makes entries younger, never older.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from queueing.files.regular_file import NOT_A_FILE, read_whole, regular_descriptor

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "marks"
"""In the folder of a tenant's log. It is there once the log was made durable."""

DAY_MS: Final = 86_400_000
_MARK: Final = struct.Struct(">QQ")
_CRC: Final = struct.Struct(">I")
_MARK_BYTES: Final = _MARK.size + _CRC.size


class Mark(NamedTuple):
    """Size of the log (entries) at a time of the record's clock (ms)."""

    record_ms: int
    size: int


def read_marks(log_folder: Path) -> list[Mark]:
    """Marks, oldest first; damaged ones are left out, and none are in what is no regular file. Raises ``OSError``."""
    try:
        data = read_whole(log_folder / FILE_NAME)
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno in NOT_A_FILE:
            return []
        raise
    whole = len(data) - len(data) % _MARK_BYTES
    parts = [data[at : at + _MARK_BYTES] for at in range(0, whole, _MARK_BYTES)]
    return [
        Mark(*_MARK.unpack_from(part))
        for part in parts
        if _CRC.pack(zlib.crc32(part[: _MARK.size])) == part[_MARK.size :]
    ]


def note_size(log_folder: Path, record_ms: int, size: int) -> list[Mark]:
    """Add a mark where the log has grown and the last one is a day old; returns all. Raises ``OSError``.

    It is not synced: after a power cut it may be missing.
    """
    marks = read_marks(log_folder)
    if marks and (size <= marks[-1].size or record_ms < marks[-1].record_ms + DAY_MS):
        return marks
    packed = _MARK.pack(record_ms, size)
    descriptor = regular_descriptor(log_folder / FILE_NAME, os.O_RDWR | os.O_CREAT)
    try:
        end = os.fstat(descriptor).st_size
        os.pwrite(descriptor, packed + _CRC.pack(zlib.crc32(packed)), end - end % _MARK_BYTES)
    finally:
        os.close(descriptor)
    return [*marks, Mark(record_ms, size)]
