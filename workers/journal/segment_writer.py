"""Writer of segments, on a disk that may fail at any call. Blocks: for the log's own thread.

After a failed write or fsync the segment is abandoned: the state of its pages in the kernel is unknown, and a second
fsync would report success (fsyncgate, 2018). The same holds for a segment whose name may not be durable.

What the failed append left behind the acknowledged bytes is cut off at once, so that it is not read back where the process
ends before it begins another segment. The cut is not synced: that could hang, and report success as above. Where the cut
fails too, or a power failure undoes it, the tail stays until the head of the next segment of the same process says that it does not
count. If there is none, recovery reads the tail as if it counted. It releases nothing wrong: an intent there is closed as
unknown, although nothing was signed; an outcome there has the signatures that were made, and is published, or refused by
Redis where another worker has the job by then.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import make_folder, sync_folder
from workers.journal.acknowledged import AcknowledgedFile
from workers.journal.open_claims import OpenClaims
from workers.journal.records import OpenedRecord, encode_record
from workers.journal.segments import frame, last_number, segment_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from workers.journal.records import Record

SEGMENT_BYTES: Final = 64 * 1024 * 1024
SEGMENT_AGE_S: Final = 86400.0
"""Segments are removed as a whole when the last record is old enough, so a quiet host begins a new one every day."""


class SegmentWriter:
    """Appender of records to a folder. ``open_claims``: claims that a former process left open there.

    ``followed``: whether other processes may follow the log, which need the acknowledged bytes of the segment in use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        open_claims: OpenClaims | None = None,
        followed: bool = True,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._open = open_claims or OpenClaims()
        self._clock_s = clock_s
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._number = 0
        self._size = 0
        self._opened_at_s = 0.0
        self._previous: tuple[int, int] | None = None
        self._acknowledged = AcknowledgedFile(folder) if followed else None
        self._head = b""

    def append(self, data: bytes, records: Sequence[Record]) -> int:
        """Write ``data``, the frames of ``records``, and sync; returns the bytes written. Raises ``OSError``."""
        try:
            descriptor = self._segment()
            data = self._head + data
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fdatasync(descriptor)
        except BaseException:
            self._cut_tail()
            self.abandon()
            raise
        self._head = b""
        self._size += len(data)
        if self._acknowledged is not None:
            with contextlib.suppress(OSError):  # only processes that follow the log wait for it
                self._acknowledged.write(self._number, self._size)
        for record in records:
            self._open.apply(record, self._number)
        return len(data)

    def _segment(self) -> int:
        """Descriptor of the current segment, or of a new one when that is full, old or abandoned."""
        if self._descriptor is not None:
            old = self._clock_s() - self._opened_at_s > SEGMENT_AGE_S
            if self._size <= SEGMENT_BYTES and not old:
                return self._descriptor
            self.abandon()
        return self._begin()

    def _begin(self) -> int:
        make_folder(self._folder)
        if not self._number:
            self._number = self._last_number()
        self._number += 1
        self._size = 0
        self._path = segment_path(self._folder, self._number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = self._descriptor = os.open(self._path, flags, 0o600)
        sync_folder(self._folder)  # the new name is durable too
        self._opened_at_s = self._clock_s()
        opened = OpenedRecord(int(self._opened_at_s * 1000), self.first_open, self._previous)
        self._head = frame(encode_record(opened))
        return descriptor

    @property
    def in_use(self) -> str:
        """Name of the segment that is written to; empty where none is. May be read from any thread."""
        path = self._path
        return "" if self._descriptor is None or path is None else path.name

    @property
    def first_open(self) -> int:
        """Number of the oldest segment with an open claim, else of the current or next one; older ones may be removed."""
        return self._open.first(self._number or self._last_number() + 1)

    def _last_number(self) -> int:
        return last_number(self._folder)

    def _cut_tail(self) -> None:
        """Cut the current segment to its acknowledged bytes, if the disk lets us."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)

    def abandon(self) -> None:
        """Close the current segment, and remove it where nothing in it was acknowledged: an outage leaves no files."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with contextlib.suppress(
            OSError
        ):  # close(2) closes even where it fails, and all acknowledged data was synced
            os.close(descriptor)
        if self._acknowledged is not None:
            # A file system with a file open for writing cannot be made read-only.
            with contextlib.suppress(OSError):
                self._acknowledged.close()
        if self._size == 0 and self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
                return
        self._previous = (self._number, self._size)
