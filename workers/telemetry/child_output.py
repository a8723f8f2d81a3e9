"""Words of a child process on its stderr, which this process reads and logs: a vendor's module writes there whatever it likes.

With the stderr of this process, such a module would wait in the middle of a signature for the reader of our log, and its lines would be no
JSON. The child writes its own log lines to a descriptor of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from typing import Final

MOST_LINES: Final = 50
"""Logged in a minute; a traceback is shorter."""

LAST_LINES: Final = 20
"""Logged beyond that when the child ends."""

MOST_BYTES: Final = 500
WINDOW_S: Final = 60.0
_READ_BYTES: Final = 64 * 1024
_MOST_LEFT_BYTES: Final = 1 << 20
"""Read at the end: a pipe holds no more."""

log = logging.getLogger("sigmill.lanes")


class ChildOutput:
    """Reader of one child's stderr, on the running loop. ``descriptor``: for the child; it is closed here by ``started``."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._line = b""
        self._window_ends_s = 0.0
        self._logged = 0
        self._left_out = 0
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._reader, self.descriptor = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._read)

    def started(self) -> None:
        """Close the child's end here: the child has it, or was not started."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def finish(self) -> None:
        """Log what is left, and close. Repeats do nothing."""
        self.started()
        read = 0
        while self._reader >= 0 and read < _MOST_LEFT_BYTES and (size := self._read()):
            read += size
        self._close()

    def _read(self) -> int:
        """Take what there is; number of bytes."""
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._close()
            return 0
        *ended, last = data.split(b"\n")
        for part in ended:
            self._add(part)
            self._say()
        self._add(last)
        return len(data)

    def _add(self, part: bytes) -> None:
        self._line += part[: MOST_BYTES - len(self._line)]

    def _say(self) -> None:
        line, self._line = self._line, b""
        if not line.strip():
            return
        now_s = time.monotonic()
        if now_s >= self._window_ends_s:
            self._window_ends_s, self._logged = now_s + WINDOW_S, 0
        if self._logged >= MOST_LINES:
            self._left_out += 1
            self._last.append(line)
            return
        self._logged += 1
        self._last.clear()
        self._log(line)

    def _log(self, line: bytes) -> None:
        left_out, self._left_out = self._left_out, 0
        text = line.decode("utf-8", "replace").strip()
        log.warning("lane.wrote", extra={"token": self._token, "text": text, "left_out": left_out})

    def _close(self) -> None:
        if self._reader < 0:
            return
        self._say()
        self._left_out -= len(self._last)
        while self._last:  # why the child ended is in its last words
            self._log(self._last.popleft())
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        self._reader = -1
