"""Follower of the write-ahead log: records that are durable, in order, from a place on. Only reads; beside a worker that writes.

A segment in use is read up to its acknowledged bytes; one that is finished up to those that the next segment names, and
whole where a crash has left no such number (as recovery reads it).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from workers.journal.acknowledged import acknowledged_ends, head_of, read_acknowledged
from workers.journal.records import decode_record
from workers.journal.segments import read_frames, read_segment, segment_number, segment_path, segments_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.journal.damage import Damage
    from workers.journal.records import Record


READERS: Final = frozenset({"later"})
"""Reasons of gaps that depend on who reads: another build could read what is there."""


class Place(msgspec.Struct, frozen=True, order=True):
    """Place in the log: number of a segment (0: before the first), and an offset behind a whole frame of it."""

    segment: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Stretch of a segment whose records are lost: from byte ``first`` up to ``end`` (exclusive). ``at_ms``: of the record before.

    ``reason``: ``damaged``; ``missing``, where segments before this one are lost; or ``later``: a record of a later version of this program.
    """

    segment: int
    first: int
    end: int
    at_ms: int
    reason: str = "damaged"


class LogFollower:
    """Reads on from ``place``. ``damage`` has the damaged places that were skipped; ``before`` is the place before the last record.

    ``at_ms``: time of the last record, when ``records`` has ended. ``unread``: numbers of segments with a record of a later version, which is a gap.
    """

    def __init__(self, folder: Path, place: Place, *, at_ms: int = 0) -> None:
        self._folder = folder
        self.place = self.before = place
        self.at_ms = at_ms
        self.damage: list[Damage] = []
        self.unread: set[int] = set()

    def records(self, most: int) -> Iterator[Record | Gap]:
        """The next durable records and gaps, at most this many; ``place`` is behind each when it is handed out. Raises ``OSError``."""
        files = [file for file in segments_of(self._folder) if segment_number(file) >= self.place.segment]
        durable = read_acknowledged(self._folder)
        for file, following in itertools.zip_longest(files, files[1:]):
            number = segment_number(file)
            if following is not None:
                end = _finished(file, following)
            elif durable is not None and durable.segment == number:
                end = durable.size_bytes
            else:
                return  # its first sync is not over, or its process is of a former version
            if number > self.place.segment:
                missing = self._is_behind_missing(file, number)
                self.place = Place(number)
                if missing:
                    yield Gap(number, 0, 0, self.at_ms, "missing")
            for record in self._of(file, end, finished=following is not None):
                yield record
                most -= 1
                if not most:
                    self.at_ms = record.at_ms
                    return

    def _is_behind_missing(self, file: Path, number: int) -> bool:
        """Whether segments before this one were there, which are not, and of which nothing was read.

        Before the first that is read any number is missing: numbers begin at 1, and segments are removed from the oldest on. Later ones that are missing
        may never have had a record (``SegmentWriter.abandon``), unless the one behind them names the last.
        """
        if not self.place.segment:
            return number > 1
        head = head_of(file)
        return head is not None and head.previous is not None and head.previous[0] > self.place.segment

    def _of(self, file: Path, end: int | None, *, finished: bool) -> Iterator[Record | Gap]:
        """Records and gaps of a segment up to ``end``.

        Damage at the end of a segment in use is not passed before there is a record behind it: how far it reaches must not depend
        on when it was read.
        """
        number = self.place.segment
        damage: list[Damage] = []
        record: Record | None = None
        for offset, payload in read_frames(file, damage, start=self.place.offset, end=end):
            if damage:
                yield from self._gaps(number, damage, record)
            self.before = self.place
            self.place = Place(number, offset)
            try:
                record = decode_record(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self.unread.add(number)
                at_ms = self.at_ms if record is None else record.at_ms
                yield Gap(number, self.before.offset, offset, at_ms, "later")
                continue
            yield record
        if damage and finished:
            yield from self._gaps(number, damage, record)
        if record is not None:
            self.at_ms = record.at_ms
        if end is not None and not damage:
            self.place = Place(number, end)

    def _gaps(self, number: int, damage: list[Damage], record: Record | None) -> Iterator[Gap]:
        """Gaps of these damaged places, of which the list is emptied; one whose record is whole leaves none. ``place`` is behind each."""
        self.damage += damage
        lost = [each for each in damage if not each.record_recovered]
        damage.clear()
        while lost:
            place = lost.pop(0)
            first, end = place.offset, place.offset + place.size_bytes
            while lost and lost[0].offset == end:  # of a file that ends before its acknowledged bytes
                end += lost.pop(0).size_bytes
            self.place = Place(number, end)
            yield Gap(number, first, end, self.at_ms if record is None else record.at_ms)


def segment_head(folder: Path, number: int) -> bytes:
    """SHA-256 of the first record of a segment, which has its time; empty where there is none. Raises ``OSError``."""
    if not number:
        return b""
    first = next(read_segment(segment_path(folder, number)), b"")
    return hashlib.sha256(first).digest()


def other_log(folder: Path, place: Place, head: bytes) -> str:
    """Sentence that says why the log in this folder is not the one that was read up to ``place``; empty where it is. Raises ``OSError``.

    ``head``: ``segment_head`` of that segment then, empty if it was not noted.
    """
    if not place.segment:
        return ""
    try:
        there = segment_path(folder, place.segment).stat().st_size >= place.offset
    except FileNotFoundError:
        there = False
    if not there:
        return f"segment {place.segment} of the write-ahead log is not there up to byte {place.offset}"
    if head and segment_head(folder, place.segment) != head:
        return f"segment {place.segment} of the write-ahead log is not the one that was read"
    return ""


def _finished(file: Path, following: Path) -> int | None:
    """Bytes that count of a segment that is no longer written to; its tail is made durable where a crash left it."""
    number = segment_number(file)
    ends = acknowledged_ends([following])
    if number in ends:
        return ends[number]
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return None
