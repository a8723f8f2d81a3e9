"""Latest time that a host's lanes have seen: it stays, in a file too, when the clock is set back.

An envelope that expired by that time is not signed again only because the clock is earlier now.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger("sigmill.lane")

NAME: Final = "latest-time"

KEEP_EACH_MS: Final = 60_000
"""The file is this much behind at most."""

REPORTED_FROM_MS: Final = 60_000
"""A clock that is set back by less is not reported: envelopes allow as much skew."""

MOST_AHEAD_MS: Final = 24 * 3_600_000
"""A kept time that is further ahead of the clock was itself wrong: it would refuse every envelope until the clock is there."""


class LatestTime:
    """Latest time seen, in Unix ms; kept in ``folder`` where there is one. To be used by one thread."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / NAME
        self._latest_ms = 0
        self._kept_ms = 0
        self._read = False
        self._reported = False

    def see(self, now_ms: int) -> int:
        """The latest time seen, this one included. A file that cannot be read or written is as none."""
        if not self._read:
            self._read = True
            self._kept_ms = self._latest_ms = self._kept(now_ms)
        if now_ms < self._latest_ms - MOST_AHEAD_MS:
            self._disregard(self._latest_ms, now_ms)
            self._kept_ms = self._latest_ms = 0
        self._latest_ms = max(self._latest_ms, now_ms)
        self._report(self._latest_ms - now_ms)
        if self._latest_ms >= self._kept_ms + KEEP_EACH_MS:
            # Another lane may have kept a later time since this one read the file.
            other_ms = self._stored()
            if other_ms <= now_ms + MOST_AHEAD_MS:
                self._latest_ms = max(self._latest_ms, other_ms)
            self._keep()
        return self._latest_ms

    def _stored(self) -> int:
        if self._file is None:
            return 0
        try:
            return int(self._file.read_bytes()[:20])
        except (OSError, ValueError):
            return 0

    def _kept(self, now_ms: int) -> int:
        kept_ms = self._stored()
        if kept_ms - MOST_AHEAD_MS > now_ms:
            self._disregard(kept_ms, now_ms)
            return 0
        return max(kept_ms, 0)

    def _report(self, back_ms: int) -> None:
        """Log once that the clock was set back, until it has passed the latest time again."""
        if back_ms == 0:
            self._reported = False
        elif back_ms >= REPORTED_FROM_MS and not self._reported:
            self._reported = True
            log.error("clock.set_back", extra={"back_s": back_ms // 1000})

    def _disregard(self, latest_ms: int, now_ms: int) -> None:
        log.error("clock.far_back", extra={"latest_s": latest_ms // 1000, "now_s": now_ms // 1000})

    def _keep(self) -> None:
        """Replace the file, not durably: after a power loss an older time is good enough."""
        self._kept_ms = self._latest_ms
        if self._file is None:
            return
        new = self._file.with_name(f".{NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):
            new.write_text(str(self._latest_ms), encoding="ascii")
            new.replace(self._file)
