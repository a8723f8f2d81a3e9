"""Segments: files of framed records, each frame with length and CRC-32; read up to the first damaged frame.

A frame is ``length: u32 be | crc32(payload): u32 be | payload``; no payload is empty. The name of a segment is its
number, and numbers only increase. A torn tail (crash, power loss) ends the reading of its segment, not of the log.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.files.folders import entries
from workers.journal.records import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = struct.Struct(">II")
_SUFFIX: Final = ".wal"


def frame(payload: bytes) -> bytes:
    """Frame of a record. Raises ``ValueError`` where it is too long: readers would take it for damage and stop there."""
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes")
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_segment(file: Path) -> Iterator[bytes]:
    """Payloads in order, up to the end or the first torn or damaged frame."""
    with file.open("rb") as stream:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            length, crc = _HEAD.unpack(head)
            if not 0 < length <= MAX_RECORD_BYTES:
                return  # zeros are unwritten blocks; the CRC-32 of an empty payload is 0, too
            payload = stream.read(length)
            if len(payload) < length or zlib.crc32(payload) != crc:
                return
            yield payload


def segments_of(folder: Path) -> list[Path]:
    """Paths of all segments, oldest first; empty where the folder is missing. Raises ``OSError``."""
    return [file for file in entries(folder, suffix=_SUFFIX, missing_ok=True) if file.stem.isdecimal()]


def segment_number(file: Path) -> int:
    """Number of a segment."""
    return int(file.stem)


def segment_path(folder: Path, number: int) -> Path:
    """Path of the segment with this number."""
    return folder / f"{number:012d}{_SUFFIX}"
