"""Write-ahead log: appending with group fsync.

Appends that arrive during an fsync share the next one; no append waits for others to arrive. When the disk fails,
every waiting append fails, and the next one tries again with a new segment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from queueing.errors import LogUnavailable
from workers.journal.records import OpenedRecord, encode_record
from workers.journal.retention import DAY_S, folder_bytes, remove_old
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import frame

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from workers.journal.damage import Damage
    from workers.journal.open_claims import OpenClaims
    from workers.journal.records import Record
    from workers.journal.retention import SealedRetention

log = logging.getLogger("sigmill.log")

NOWAIT_DELAY_S: Final = 1.0
"""Records of ``append_nowait`` are written with the next append, or alone after this time."""


class SyncTimer(Protocol):
    """Histogram of the time that write and fsync took."""

    def observe(self, seconds: float, /) -> object:
        """Record one sync."""


class BytesObserver(Protocol):
    """Counter of the bytes that each tenant has in the log."""

    def log_written(self, tenant: str, size_bytes: int, /) -> None:
        """Records of this tenant are durable in the log."""


@dataclass(slots=True)
class _Entry:
    """Records with their frames; ``done`` is None where no caller waits. ``bytes_of``: size of the frames by tenant."""

    records: tuple[Record, ...]
    data: bytes
    bytes_of: Mapping[str, int] = field(default_factory=dict)
    done: asyncio.Future[None] | None = None

    def settle(self, error: LogUnavailable | None) -> None:
        if self.done is None or self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class WriteAheadLog:
    """Write-ahead log of one process, in its own folder. To be used on one event loop.

    ``bytes`` is the size of the folder, exact after ``measure`` or ``tidy``; ``failing`` says whether the last write failed. ``followed``: see ``SegmentWriter``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sync_timer: SyncTimer | None = None,
        usage: BytesObserver | None = None,
        followed: bool = True,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.folder = self._folder = folder
        self._sync_timer = sync_timer
        self._usage = usage
        self._clock_s = clock_s
        self._held_back = 0
        self._followed = followed
        self._writer = SegmentWriter(folder, followed=followed)
        self._waiting: list[_Entry] = []
        self._waiting_since: float | None = None
        self._unawaited: list[_Entry] = []
        self._flushing: asyncio.Task[None] | None = None
        self._unawaited_timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self._closed = False
        self.failing = False
        self._damage: set[tuple[str, int]] = set()
        self.bytes = 0

    def inherit(self, open_claims: OpenClaims) -> None:
        """Continue the log of a former process. To be called before the first append."""
        self._writer.abandon()
        self._writer = SegmentWriter(self._folder, open_claims=open_claims, followed=self._followed)

    @property
    def in_use(self) -> str:
        """Name of the segment that is written to; empty before the first append, and after a failed one."""
        return self._writer.in_use

    @property
    def damaged(self) -> int:
        """Number of damaged places that recovery and the scrubber found."""
        return len(self._damage)

    def found_damage(self, places: Iterable[Damage]) -> None:
        """Count these places; one that was found before counts once."""
        self._damage |= {(place.segment, place.offset) for place in places}

    def scrubbed(self, unread: Collection[str], places: Iterable[Damage]) -> None:
        """All segments but ``unread`` have these damaged places and no others: one that was restored or removed has none."""
        self._damage = {(segment, offset) for segment, offset in self._damage if segment in unread}
        self.found_damage(places)

    async def append(self, records: Sequence[Record]) -> None:
        """Append records; returns when they are durable. Raises ``LogUnavailable`` (retryable): they are not."""
        if self._closed:
            raise LogUnavailable("the write-ahead log is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = self._entry(records)
        entry.done = done
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._flush_with(entry)
        await done

    @property
    def lag_s(self) -> float:
        """Seconds that the oldest awaited record has waited for the disk. May be read from any thread."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    async def probe(self) -> None:
        """Write nothing, as an append does, to find out whether the disk works again. Raises ``LogUnavailable``."""
        await self.append(())

    def append_nowait(self, records: Sequence[Record]) -> None:
        """Append records without waiting for the disk: with the next append, or after a second.

        For records whose loss recovery repairs.
        """
        self._unawaited.append(self._entry(records))
        self._schedule_unawaited()

    def _entry(self, records: Sequence[Record]) -> _Entry:
        frames = [frame(encode_record(record)) for record in records]
        sizes: dict[str, int] = {}
        if self._usage is not None:
            for record, data in zip(records, frames, strict=True):
                if not isinstance(record, OpenedRecord) and record.tenant:  # the service's own have no tenant
                    sizes[record.tenant] = sizes.get(record.tenant, 0) + len(data)
        return _Entry(tuple(records), b"".join(frames), sizes)

    def _schedule_unawaited(self) -> None:
        if self._unawaited_timer is None and not self._closed:
            self._unawaited_timer = asyncio.get_running_loop().call_later(
                NOWAIT_DELAY_S, self._write_unawaited
            )

    def _write_unawaited(self) -> None:
        self._unawaited_timer = None
        if self._unawaited and not self._closed:
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
        """Write one group: first the records that no caller waits for, then those of ``batch``."""
        self._waiting = []
        unawaited, self._unawaited = self._unawaited, []
        entries = unawaited + batch
        data = b"".join([entry.data for entry in entries])
        records = [record for entry in entries for record in entry.records]
        error: LogUnavailable | None = LogUnavailable("the write-ahead log failed unexpectedly")
        try:
            seconds = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._append, data, records
            )
        except OSError as failure:
            log.error("log.failed", extra={"why": failure.strerror, "errno": failure.errno})
            error = LogUnavailable(f"the write-ahead log cannot be written: {failure.strerror}")
        except (
            Exception
        ):  # whatever it was, the records are not durable, and their callers must not wait for ever
            log.exception("log.broke")
        else:
            error = None
            if self._sync_timer is not None:
                self._sync_timer.observe(seconds)
            self._count(entries)
        finally:
            self.failing = error is not None
            waits = any(entry.done is not None for entry in self._waiting)
            self._waiting_since = time.monotonic() if waits else None
            for entry in batch:
                entry.settle(error)
            if error is not None and unawaited:
                self._unawaited[:0] = unawaited
                self._schedule_unawaited()

    def _count(self, entries: Sequence[_Entry]) -> None:
        if self._usage is not None:
            for entry in entries:
                for tenant, size_bytes in entry.bytes_of.items():
                    self._usage.log_written(tenant, size_bytes)

    def _append(self, data: bytes, records: Sequence[Record]) -> float:
        """Write on the log's own thread; returns the seconds that it took."""
        started = time.monotonic()
        self.bytes += self._writer.append(data, records)
        return time.monotonic() - started

    async def measure(self) -> None:
        """Set ``bytes`` to the size of the folder. Raises ``OSError``."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._measure)

    async def tidy(self, keep_s: float, *, sealed: SealedRetention | None = None) -> int:
        """Remove segments that are older than ``keep_s`` and have no open claim; returns how many. Raises ``OSError``.

        ``sealed``: where a record follows the log, what it has, which may go earlier; what it does not have stays.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._tidy, keep_s, sealed)

    def _measure(self) -> None:
        """Set ``bytes`` on the log's own thread, so that no write comes between the look and the count."""
        self.bytes = folder_bytes(self._folder)

    def _tidy(self, keep_s: float, sealed: SealedRetention | None) -> int:
        first, now_s = self._writer.first_open, self._clock_s()
        removed = 0
        if sealed is not None:
            first = min(first, sealed.below)
            removed = remove_old(
                self._folder, below=first, keep_s=sealed.keep_s, now_s=now_s, spared=sealed.incomplete
            ).removed
        done = remove_old(self._folder, below=first, keep_s=keep_s, now_s=now_s)
        self.bytes = folder_bytes(self._folder)
        if done.held_back != self._held_back:
            self._held_back = done.held_back
            if done.held_back:
                extra = {"segments": done.held_back, "gap_days": round(done.gap_s / DAY_S)}
                log.warning("log.kept_longer", extra=extra)
        return done.removed + removed

    async def close(self) -> None:
        """Write the remaining records and close the log. May be cancelled; the thread then ends on its own."""
        try:
            if self._unawaited:
                try:
                    await self.append(())
                except LogUnavailable:
                    log.warning(
                        "log.notes_lost",
                        extra={"count": sum(len(entry.records) for entry in self._unawaited)},
                    )
            if self._flushing is not None:
                await self._flushing
            await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.abandon)
        finally:
            self._closed = True
            if self._unawaited_timer is not None:
                self._unawaited_timer.cancel()
            self._thread.shutdown(wait=False)
