"""Appending to the write-ahead log: whoever waits is told when its records are on the disk.

Writes that arrive during an fsync share the next one, so the disk sets the pace and nobody waits for company.
When the disk fails everybody is told so, and the next append tries again with a new segment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import LogUnavailable
from workers.journal.records import encode_record
from workers.journal.retention import folder_bytes, remove_old
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from workers.journal.open_claims import OpenClaims
    from workers.journal.records import Record

log = logging.getLogger("sigmill.log")

NOTE_DELAY_S: Final = 1.0
"""Notes wait so long for an append to go along with; then they are written by themselves."""


@dataclass(slots=True)
class _Entry:
    """Records with their frames; ``done`` None where nobody waits."""

    records: tuple[Record, ...]
    data: bytes
    done: asyncio.Future[None] | None = None

    def settle(self, error: LogUnavailable | None) -> None:
        if self.done is None or self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class WriteAheadLog:
    """One log of one process, in a folder of its own. Its methods belong to the worker's loop.

    ``bytes`` is what the folder takes; it is right after ``measure`` or ``tidy``.
    """

    def __init__(self, folder: Path, *, synced: Callable[[float], None] | None = None) -> None:
        self._folder = folder
        self._synced = synced
        self._writer = SegmentWriter(folder)
        self._waiting: list[_Entry] = []
        self._waiting_since: float | None = None
        self._notes: list[_Entry] = []
        self._flushing: asyncio.Task[None] | None = None
        self._note_timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self._closed = False
        self.failing = False
        self.bytes = 0

    def inherit(self, open_claims: OpenClaims) -> None:
        """Go on where a former process stopped; before anything is appended."""
        self._writer = SegmentWriter(self._folder, open_claims=open_claims)

    async def append(self, records: Sequence[Record]) -> None:
        """Return when the records are durable. Raises ``LogUnavailable`` (retryable): they are not."""
        if self._closed:
            raise LogUnavailable("the write-ahead log is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = _entry(records)
        entry.done = done
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._flush_with(entry)
        await done

    @property
    def lag_s(self) -> float:
        """How long the oldest record that somebody waits for is not on the disk; read by other threads too."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    async def probe(self) -> None:
        """Whether it can be written again, as an append would find out. Raises ``LogUnavailable``."""
        await self.append(())

    def note(self, records: Sequence[Record]) -> None:
        """Write the records with the next append, or soon; nobody waits for them (a lost one is found at recovery)."""
        self._notes.append(_entry(records))
        self._note_soon()

    def _note_soon(self) -> None:
        if self._note_timer is None and not self._closed:
            self._note_timer = asyncio.get_running_loop().call_later(NOTE_DELAY_S, self._write_notes)

    def _write_notes(self) -> None:
        self._note_timer = None
        if self._notes and not self._closed:
            self._flush_with(_Entry((), b""))

    def _flush_with(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        if self._flushing is None:
            self._flushing = asyncio.ensure_future(self._flush())

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._write(self._waiting)
        finally:
            self._flushing = None

    async def _write(self, batch: list[_Entry]) -> None:
        """One group: notes first, then whatever waits by now."""
        self._waiting = []
        notes, self._notes = self._notes, []
        entries = notes + batch
        data = b"".join([entry.data for entry in entries])
        records = [record for entry in entries for record in entry.records]
        error: LogUnavailable | None = LogUnavailable("the write-ahead log broke")
        try:
            seconds = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._append, data, records
            )
        except OSError as failure:
            log.error("log.failed", extra={"why": failure.strerror, "errno": failure.errno})
            error = LogUnavailable(f"the write-ahead log cannot be written: {failure.strerror}")
        except Exception:  # whatever it was, the records are not durable, and nobody waits for ever
            log.exception("log.broke")
        else:
            error = None
            if self._synced is not None:
                self._synced(seconds)
        finally:
            self.failing = error is not None
            waits = any(entry.done is not None for entry in self._waiting)
            self._waiting_since = time.monotonic() if waits else None
            for entry in batch:
                entry.settle(error)
            if error is not None and notes:
                self._notes[:0] = notes
                self._note_soon()

    def _append(self, data: bytes, records: Sequence[Record]) -> float:
        """On the log's own thread. Answers how long it took, in seconds."""
        started = time.monotonic()
        self.bytes += self._writer.append(data, records)
        return time.monotonic() - started

    async def measure(self) -> None:
        """Find out what the folder takes. Raises ``OSError``."""
        self.bytes = await asyncio.get_running_loop().run_in_executor(
            self._thread, folder_bytes, self._folder
        )

    async def tidy(self, keep_s: float) -> int:
        """Remove segments of which all is older than ``keep_s`` and has its end; how many. Raises ``OSError``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._tidy, keep_s)

    def _tidy(self, keep_s: float) -> int:
        removed = remove_old(self._folder, below=self._writer.first_open, before_s=time.time() - keep_s)
        self.bytes = folder_bytes(self._folder)
        return removed

    async def close(self) -> None:
        """Write what is left; then the log takes nothing any more. May be cancelled: the thread is left alone then."""
        try:
            if self._notes:
                try:
                    await self.append(())
                except LogUnavailable:
                    log.warning("log.notes_lost", extra={"count": sum(len(n.records) for n in self._notes)})
            if self._flushing is not None:
                await self._flushing
            await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.abandon)
        finally:
            self._closed = True
            if self._note_timer is not None:
                self._note_timer.cancel()
            self._thread.shutdown(wait=False)


def _entry(records: Sequence[Record]) -> _Entry:
    return _Entry(tuple(records), b"".join([frame(encode_record(record)) for record in records]))
