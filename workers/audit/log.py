"""Appending to the write-ahead log: whoever waits is told when its records are on the disk.

Writes that arrive during an fsync share the next one, so the disk sets the pace and nobody waits for company.
After a failed write or fsync the segment is abandoned: what the kernel did with its pages is unknown, and a
second fsync would say OK (fsyncgate, 2018). Records that were not acknowledged are not in the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from queueing.errors import LogUnavailable
from workers.audit.records import encode_record
from workers.audit.segments import frame, next_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from workers.audit.records import Record

log = logging.getLogger("sigmill.log")

SEGMENT_BYTES: Final = 64 * 1024 * 1024


class WriteAheadLog:
    """One log of one process, in a folder of its own. Its methods belong to the worker's loop."""

    def __init__(self, folder: Path, *, synced: Callable[[float], None] | None = None) -> None:
        self._folder = folder
        self._synced = synced
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._size = 0
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._waiting_since: float | None = None
        self._unwaited: list[bytes] = []
        self._flushing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self.failing = False

    async def append(self, records: Sequence[Record]) -> None:
        """Return when the records are durable. Raises ``LogUnavailable`` (retryable): they are not."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._waiting.append((b"".join([frame(encode_record(record)) for record in records]), done))
        if self._flushing is None:
            self._flushing = asyncio.ensure_future(self._flush())
        await done

    @property
    def lag_s(self) -> float:
        """How long the oldest record that somebody waits for is not on the disk; read by other threads too."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def note(self, records: Sequence[Record]) -> None:
        """Write the records with the next append; nobody waits for them (a lost one is found at recovery)."""
        self._unwaited.extend(frame(encode_record(record)) for record in records)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                notes, self._unwaited = self._unwaited, []
                data = b"".join(notes + [blob for blob, _ in batch])
                error: LogUnavailable | None = None
                try:
                    seconds = await loop.run_in_executor(self._thread, self._write, data)
                except OSError as failure:
                    log.error("log.failed", extra={"why": failure.strerror, "errno": failure.errno})
                    error = LogUnavailable(f"the write-ahead log cannot be written: {failure.strerror}")
                else:
                    if self._synced is not None:
                        self._synced(seconds)
                self.failing = error is not None
                self._waiting_since = time.monotonic() if self._waiting else None
                for _, done in batch:
                    if done.cancelled():
                        continue
                    if error is None:
                        done.set_result(None)
                    else:
                        done.set_exception(error)
        finally:
            self._flushing = None

    def _write(self, data: bytes) -> float:
        """Write and sync; runs on the log's own thread. Answers how long it took, in seconds."""
        started = time.monotonic()
        descriptor = self._segment()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fdatasync(descriptor)
        except OSError:
            self._abandon()
            if self._size == 0 and self._path is not None:
                self._path.unlink(
                    missing_ok=True
                )  # nothing in it was acknowledged: a long outage fills no folder
            raise
        self._size += len(data)
        return time.monotonic() - started

    def _segment(self) -> int:
        """The descriptor to write to: the present segment's, or a new one's when it is full or was abandoned."""
        if self._descriptor is not None and self._size <= SEGMENT_BYTES:
            return self._descriptor
        self._abandon()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path = next_segment(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = self._descriptor = os.open(path, flags, 0o600)
        self._size = 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the new name is durable too
        finally:
            os.close(folder)
        return descriptor

    def _abandon(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def close(self) -> None:
        """Write what is left; then the log takes nothing any more."""
        if self._unwaited:
            try:
                await self.append(())
            except LogUnavailable:
                log.warning("log.notes_lost", extra={"count": len(self._unwaited)})
        if self._flushing is not None:
            await self._flushing
        self._thread.shutdown()
        self._abandon()
