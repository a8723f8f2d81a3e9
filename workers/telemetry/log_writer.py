"""Log lines to stderr by a thread of their own: the code that logs never waits for the reader of the pipe.

A pipe without a reader takes 64 KiB, and then each write blocks. The lines wait in a bounded queue; what finds it full is
dropped and counted, and a line tells how many when writing works again.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
from typing import Final, Protocol

MOST_LINES: Final = 4096
"""Some ten seconds of a busy worker that logs its jobs."""

MOST_BYTES: Final = 8 << 20
FLUSH_S: Final = 0.5
"""Longest wait for the queue at the end of the process; a reader that reads empties it in a hundredth of that."""

STDERR: Final = 2

log = logging.getLogger("sigmill.logs")


class LineCounter(Protocol):
    """Counter of lines."""

    def inc(self, amount: float = 1) -> None:
        """Add to it."""


class LogWriter(logging.Handler):
    """Handler that writes lines to a descriptor, each by one write so that lines of worker and lanes do not mix.

    A descriptor that cannot be written (its reader has left, its disk is full) loses lines and ends nothing.
    """

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self._descriptor = descriptor
        # Reentrant: a signal handler may log while its thread is in here.
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._dropped = 0
        self._told = 0
        self._counter: LineCounter | None = None
        threading.Thread(target=self._write_all, name="logs", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Lines dropped since the start of the process."""
        return self._dropped

    def count_in(self, counter: LineCounter) -> None:
        """Count dropped lines there as well, those of the past included."""
        counter.inc(self._dropped)
        self._counter = counter

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line of a record; does not block."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a record whose text cannot be made costs its line, not its caller
            self._drop()
            return
        if self._queue.qsize() >= MOST_LINES or self._put_bytes - self._taken_bytes + len(line) > MOST_BYTES:
            self._drop()
            return
        self._put_bytes += len(line)
        self._queue.put(line)

    def flush(self) -> None:
        """Wait until what is queued is written, ``FLUSH_S`` at most."""
        written = threading.Event()
        self._queue.put(written)
        written.wait(FLUSH_S)

    def _drop(self) -> None:
        self._dropped += 1
        if self._counter is not None:
            self._counter.inc()

    def _write_all(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._taken_bytes += len(item)
            if not self._write(item):
                self._drop()
            elif self._dropped != self._told and self._queue.qsize() <= MOST_LINES // 2:
                self._tell()

    def _tell(self) -> None:
        dropped, told = self._dropped, self._told
        self._told = dropped
        log.warning("logs.dropped", extra={"lines": dropped - told})

    def _write(self, line: bytes) -> bool:
        left = memoryview(line)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process has made the open file non-blocking
                writable = select.poll()
                writable.register(self._descriptor, select.POLLOUT)
                writable.poll()
            except OSError:
                return False
        return True


def flush_logs() -> None:
    """Wait a moment for queued log lines: before ``os._exit``, which ends the thread that writes them."""
    for handler in logging.getLogger("sigmill").handlers:
        handler.flush()
