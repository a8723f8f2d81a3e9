"""Segments: files of framed records, each frame with length and CRC-32.

A frame is ``length: u32 be | crc32(payload): u32 be | payload``; no payload is empty. The name of a segment is its
number, and numbers only increase. A torn tail (crash, power loss) ends the reading of its segment, not of the log;
damage before the end costs the damaged records and is reported.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final

from queueing.files.folders import entries, regular_entries, strange_entries
from queueing.files.regular_file import open_regular
from workers.journal.damage import HEAD, Damage, frame_at, resync
from workers.journal.records import MAX_RECORD_BYTES
from workers.journal.unreadable import read_around

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIX: Final = ".wal"


def frame(payload: bytes) -> bytes:
    """Frame of a record. Raises ``ValueError`` where it is too long: readers would take it for damage."""
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes")
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_segment(
    file: Path, damage: list[Damage] | None = None, *, end: int | None = None
) -> Iterator[bytes]:
    """Payloads in order, up to the end or a torn tail: ``read_frames`` without the places."""
    for _, payload in read_frames(file, damage, end=end):
        yield payload


def read_frames(
    file: Path,
    damage: list[Damage] | None = None,
    *,
    start: int = 0,
    end: int | None = None,
    around: list[range] | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Frames in order from the one at ``start``, up to the end or a torn tail: the offset behind each, and its payload.

    Damaged places are added to ``damage`` and skipped. ``end``: the acknowledged bytes (``workers.journal.acknowledged``),
    where they are known: what is behind them is not read, and a file that ends before them is damaged. ``around``: what the disk
    does not give is damage, too, and these ranges are added to it; without it they raise. Raises ``OSError``.
    Behind damage, and with ``around``, the rest of the file is read into memory.
    """
    places: list[Damage] = [] if damage is None else damage
    with _opened(file, start, end, around) as stream:
        offset = start
        while (end is None or offset < end) and (head := stream.read(HEAD.size)):
            payload = b""
            if len(head) == HEAD.size:
                length, crc = HEAD.unpack(head)
                if 0 < length <= MAX_RECORD_BYTES:
                    payload = stream.read(length)
                    if len(payload) == length and zlib.crc32(payload) == crc:
                        offset += HEAD.size + length
                        yield offset, payload
                        continue
            rest = (head + payload + stream.read())[: None if end is None else end - offset]
            yield from _behind_damage(file.name, offset, rest, places, torn_is_damage=end is not None)
            offset += len(rest)
            break
        if end is not None and offset < end:
            places.append(Damage(file.name, offset, end - offset))


def _opened(file: Path, start: int, end: int | None, around: list[range] | None) -> BinaryIO:
    """Stream of a segment from ``start`` on."""
    if around is not None:
        return io.BytesIO(read_around(file, start, end, around))
    stream = open_regular(file)
    stream.seek(start)
    return stream


def _behind_damage(
    segment: str, offset: int, data: bytes, damage: list[Damage], *, torn_is_damage: bool
) -> Iterator[tuple[int, bytes]]:
    """Frames of the rest of a segment, which begins at ``offset`` with a damaged frame or a torn tail."""
    start: int | None = 0
    while start is not None and start < len(data):
        payload = frame_at(data, start)
        if payload is not None:
            start += HEAD.size + len(payload)
            yield offset + start, payload
            continue
        found = resync(data, start)
        if found.torn and not torn_is_damage:
            return
        end = len(data) if found.next_start is None else found.next_start
        damage.append(Damage(segment, offset + start, end - start, found.payload is not None))
        if found.payload is not None:
            yield offset + end, found.payload
        start = found.next_start


def damage_of(file: Path, *, end: int | None = None) -> list[Damage]:
    """Damaged places of a segment, up to ``end``. O(its bytes). Raises ``OSError``."""
    damage: list[Damage] = []
    for _ in read_segment(file, damage, end=end):
        pass
    return damage


def segments_of(folder: Path) -> list[Path]:
    """Paths of all segments, oldest first; empty where the folder is missing. What is no regular file is none. Raises ``OSError``."""
    files = regular_entries(folder, suffix=_SUFFIX, missing_ok=True)
    return [file for file in files if file.stem.isdecimal()]


def strange_segments(folder: Path) -> list[Damage]:
    """Pipes, sockets and devices with the name of a segment, as damaged places without bytes. Raises ``OSError``."""
    files = strange_entries(folder, suffix=_SUFFIX, missing_ok=True)
    return [Damage(file.name, 0, 0) for file in files if file.stem.isdecimal()]


def last_number(folder: Path) -> int:
    """Highest number in the name of a segment, or of what is in its place; 0 without one. Raises ``OSError``."""
    files = entries(folder, suffix=_SUFFIX, missing_ok=True)
    return max((segment_number(file) for file in files if file.stem.isdecimal()), default=0)


def segment_number(file: Path) -> int:
    """Number of a segment."""
    return int(file.stem)


def segment_path(folder: Path, number: int) -> Path:
    """Path of the segment with this number."""
    return folder / f"{number:012d}{_SUFFIX}"
