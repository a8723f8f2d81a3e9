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

from queueing.files.regular_file import regular_descriptor
from workers.journal.acknowledged import head_of, read_acknowledged
from workers.journal.records import decode_record
from workers.journal.segments import read_frames, read_segment, segment_number, segment_path, segments_of
from workers.journal.unreadable import UNREADABLE
from workers.journal.unreadable_places import UnreadablePlaces, raise_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.journal.damage import Damage
    from workers.journal.records import OpenedRecord, Record


READERS: Final = frozenset({"later", "unreadable"})
"""Reasons of gaps that depend on who reads, and when: another build could read what is there, or the disk give it again."""


class Place(msgspec.Struct, frozen=True, order=True):
    """Place in the log: number of a segment (0: before the first), and an offset behind a whole frame of it."""

    segment: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Stretch of a segment whose records are lost: from byte ``first`` up to ``end`` (exclusive). ``at_ms``: of the record before.

    ``reason``: ``damaged``; ``missing``, where segments before this one are lost; ``later``: a record of a later version of
    this program; or ``unreadable``: the disk does not give it.
    """

    segment: int
    first: int
    end: int
    at_ms: int
    reason: str = "damaged"


class LogFollower:
    """Reads on from ``place``. ``damage`` has the damaged places that were skipped; ``before`` is the place before the last record.

    ``at_ms``: time of the last record, when ``records`` has ended. ``unread``: numbers of segments with a record of a later version, which is a gap.
    ``read_around``: whether something was skipped that the disk does not give; its user sets it back.
    """

    def __init__(
        self, folder: Path, place: Place, *, at_ms: int = 0, unreadable: UnreadablePlaces | None = None
    ) -> None:
        self._folder = folder
        self.place = self.before = place
        self.at_ms = at_ms
        self.damage: list[Damage] = []
        self.unread: set[int] = set()
        self.read_around = False
        self._unreadable = unreadable or UnreadablePlaces()
        self._lost_tail: tuple[Place, int] | None = None
        """Place and end of what was lost at the end of a segment in use: read again only when more is durable behind it."""

    def records(self, most: int) -> Iterator[Record | Gap]:
        """The next durable records and gaps, at most this many; ``place`` is behind each when it is handed out. Raises ``OSError``.

        What the disk does not give raises ``SegmentUnreadable``, until it is given up.
        """
        files = [file for file in segments_of(self._folder) if segment_number(file) >= self.place.segment]
        durable = read_acknowledged(self._folder)
        for file, following in itertools.zip_longest(files, files[1:]):
            number = segment_number(file)
            if following is not None:
                end = self._finished(file, following)
            elif durable is not None and durable.segment == number:
                end = durable.size_bytes
                if self._lost_tail == (self.place, end):
                    return
            else:
                return  # its first sync is not over, or its process is of a former version
            if number > self.place.segment:
                missing = self._is_behind_missing(file, number)
                self.place = Place(number)
                if missing:
                    yield Gap(number, 0, 0, self.at_ms, "missing")
            for record in self._readable(file, end, finished=following is not None):
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
        head = self._head_of(file)
        return head is not None and head.previous is not None and head.previous[0] > self.place.segment

    def _readable(self, file: Path, end: int | None, *, finished: bool) -> Iterator[Record | Gap]:
        """Records and gaps of a segment up to ``end``. Raises ``SegmentUnreadable`` where the disk does not give what is next."""
        try:
            yield from self._of(file, end, finished=finished)
        except OSError as error:
            raise_unreadable(error, file, self.place.offset)
            raise

    def _of(self, file: Path, end: int | None, *, finished: bool) -> Iterator[Record | Gap]:
        """Records and gaps of a segment up to ``end``.

        Damage at the end of a segment in use is not passed before there is a record behind it: how far it reaches must not depend
        on when it was read.
        """
        number = self.place.segment
        damage: list[Damage] = []
        record: Record | None = None
        lost = self._lost(number)
        try:
            for offset, payload in read_frames(file, damage, start=self.place.offset, end=end, around=lost):
                if damage:
                    yield from self._gaps(number, damage, record, lost)
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
                yield from self._gaps(number, damage, record, lost)
        finally:
            if record is not None:
                self.at_ms = record.at_ms
        if end is not None and not damage:
            self.place = Place(number, end)
        elif end is not None:
            self._lost_tail = self.place, end

    def _lost(self, number: int) -> list[range] | None:
        """Empty list for what the disk does not give from the place on, if that is given up; None: it raises."""
        return [] if self._unreadable.is_given_up(number, self.place.offset) else None

    def _head_of(self, file: Path) -> OpenedRecord | None:
        """First record of a segment; None where it is damaged, removed, or was given up."""
        try:
            return head_of(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in UNREADABLE and self._unreadable.is_given_up(segment_number(file), 0):
                self.read_around = True
                return None
            raise_unreadable(error, file, 0)
            raise

    def _finished(self, file: Path, following: Path) -> int | None:
        """Bytes that count of a segment that is no longer written to; its tail is made durable where a crash left it."""
        head = self._head_of(following)
        if head is not None and head.previous is not None and head.previous[0] == segment_number(file):
            return head.previous[1]
        descriptor = regular_descriptor(file)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return None

    def _gaps(
        self, number: int, damage: list[Damage], record: Record | None, unreadable: list[range] | None
    ) -> Iterator[Gap]:
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
            is_lost = any(each.start < end and first < each.stop for each in unreadable or ())
            self.read_around |= is_lost
            at_ms = self.at_ms if record is None else record.at_ms
            yield Gap(number, first, end, at_ms, "unreadable" if is_lost else "damaged")


def segment_head(folder: Path, number: int) -> bytes | None:
    """SHA-256 of the first record of a segment, which has its time; empty where there is none, None where the disk does not give it.

    Raises ``OSError``.
    """
    if not number:
        return b""
    try:
        first = next(read_segment(segment_path(folder, number)), b"")
    except OSError as error:
        if error.errno in UNREADABLE:
            return None
        raise
    return hashlib.sha256(first).digest()


def other_log(folder: Path, place: Place, head: bytes) -> str:
    """Sentence that says why the log in this folder is not the one that was read up to ``place``; empty where it is. Raises ``OSError``.

    ``head``: ``segment_head`` of that segment then, empty if it was not noted. One that the disk does not give now says nothing.
    """
    if not place.segment:
        return ""
    try:
        there = segment_path(folder, place.segment).stat().st_size >= place.offset
    except FileNotFoundError:
        there = False
    if not there:
        return f"segment {place.segment} of the write-ahead log is not there up to byte {place.offset}"
    if head and segment_head(folder, place.segment) not in {head, None}:
        return f"segment {place.segment} of the write-ahead log is not the one that was read"
    return ""
