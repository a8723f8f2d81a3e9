"""Segments: files of framed records, each frame with its length and CRC-32, read back up to the first damage.

A frame is ``length: u32 be | crc32(payload): u32 be | payload``; no payload is empty. The name of a segment is its
number; numbers only grow. A torn tail (a crash, a power loss) ends the reading of that segment, never that of the log.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.files.folders import entries

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = struct.Struct(">II")
_SUFFIX: Final = ".wal"

MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Far above the largest result (1,024 RSA-4096 signatures: half a MiB); a longer length is damage."""


def frame(payload: bytes) -> bytes:
    """The record as it is written; ``ValueError`` for one that no reader would believe, which would hide all behind it."""
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes")
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_segment(file: Path) -> Iterator[bytes]:
    """The payloads in order, up to the end or the first frame that is torn or damaged."""
    with file.open("rb") as stream:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            length, crc = _HEAD.unpack(head)
            if not 0 < length <= MAX_RECORD_BYTES:
                return  # zeros are blocks that were never written, and their CRC-32 would be right
            payload = stream.read(length)
            if len(payload) < length or zlib.crc32(payload) != crc:
                return
            yield payload


def segments_of(folder: Path) -> list[Path]:
    """All segments, oldest first; none where there is no folder yet. Raises ``OSError`` where it cannot be listed."""
    return [file for file in entries(folder, suffix=_SUFFIX, missing_ok=True) if file.stem.isdecimal()]


def segment_number(file: Path) -> int:
    """The number of a segment."""
    return int(file.stem)


def segment_path(folder: Path, number: int) -> Path:
    """The path of the segment with this number."""
    return folder / f"{number:012d}{_SUFFIX}"
