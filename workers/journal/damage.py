"""Damage in a segment: finding the next whole frame behind it. Pure.

A damaged frame in the middle of a segment (a rotten byte, a lost sector) costs that record, not those behind it. Damage
is told from a torn tail, which a crash leaves: the file ends within a frame, or in blocks that were never written.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workers.journal.records import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD: Final = struct.Struct(">II")
"""Head of a frame: length and CRC-32 of the payload."""

_PLAUSIBLE: Final = re.compile(rb"(?=\x00[\x00-\x40].{6}[\x90-\x9f][\xa1-\xbf])", re.DOTALL)
"""A head with a length up to ``MAX_RECORD_BYTES``, and a record: a msgpack array of at most 15 fields, its name first."""

_RECORD: Final = re.compile(rb"[\x90-\x9f][\xa1-\xbf]")

_LONGEST_ENVELOPE: Final = 512 * 1024
"""More than an envelope or a dead letter: bytes of a client in which a frame could be imitated."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged place in a segment. ``record_recovered``: only the frame's length was wrong, its record is whole."""

    segment: str
    offset: int
    size_bytes: int
    record_recovered: bool = False

    def __str__(self) -> str:
        if not self.size_bytes:
            return f"{self.segment}: cannot be read from offset {self.offset}, or is not a regular file"
        return f"{self.segment}: {self.size_bytes} bytes from offset {self.offset} are damaged"


@dataclass(frozen=True, slots=True)
class Resync:
    """Continuation behind a damaged frame: at ``next_start`` (None: nowhere), after ``payload`` if there is one.

    ``torn``: the rest is a torn tail rather than damage.
    """

    next_start: int | None
    payload: bytes | None = None
    torn: bool = False


def frame_at(data: bytes, start: int) -> bytes | None:
    """Payload of the whole frame at this place; None where there is none."""
    if start + HEAD.size > len(data):
        return None
    length, crc = HEAD.unpack_from(data, start)
    end = start + HEAD.size + length
    if not 0 < length <= MAX_RECORD_BYTES or end > len(data):
        return None  # zeros are unwritten blocks; the CRC-32 of an empty payload is 0, too
    payload = data[start + HEAD.size : end]
    return payload if zlib.crc32(payload) == crc else None


def resync(data: bytes, start: int) -> Resync:
    """Find the next frame behind the damaged one at ``start``; ``data`` is the rest of the file. O(its bytes).

    In this order, so that a frame which a client has imitated in its envelope is not taken for one of the log:

    1. Its length is wrong and its CRC right: the record ends where the CRC matches, and is whole.
    2. Its length leads to a whole frame, or to the end: the record is lost.
    3. Else the next whole frame counts.
    """
    length, crc = HEAD.unpack_from(data, start) if start + HEAD.size <= len(data) else (0, 0)
    body = start + HEAD.size
    scanned = _scan(data, body, crc)
    if scanned.payload is not None:
        return scanned
    end = body + length
    if 0 < length <= MAX_RECORD_BYTES:
        if frame_at(data, end) is not None:
            return Resync(end)
        if scanned.next_start is None:
            return Resync(None, torn=end > len(data))
    if scanned.next_start is None:
        return Resync(None, torn=not any(data[start:]))
    return scanned


def _scan(data: bytes, body: int, crc: int) -> Resync:
    """The end of a record with this CRC that begins at ``body``, or else the next whole frame."""
    first: int | None = None
    is_record = _RECORD.match(data, body) is not None
    checked, so_far = body, 0
    for place in _places(data, body):
        if is_record and place - body <= MAX_RECORD_BYTES:
            so_far = zlib.crc32(data[checked:place], so_far)
            checked = place
            if so_far == crc:
                return Resync(place if place < len(data) else None, data[body:place])
        if first is None and frame_at(data, place) is not None:
            first = place
        if first is not None and (not is_record or place - first > _LONGEST_ENVELOPE):
            break
    return Resync(first)


def _places(data: bytes, body: int) -> Iterator[int]:
    """Places at which a frame may begin, and the end."""
    for match in _PLAUSIBLE.finditer(data, body + 1):
        yield match.start()
    yield len(data)
