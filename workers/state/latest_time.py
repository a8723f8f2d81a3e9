"""Latest time that a host's lanes have seen: it stays, in a file too, when the clock is set back.

An envelope that expired by that time is not signed again only because the clock is earlier now. A clock that was ahead and is
corrected is told from one that is set back by the time since the host's boot, which no user can set: a step ahead is doubted for a
day, and is forgotten when the clock returns to where it would be without the step.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from queueing.files.regular_file import read_regular
from queueing.unix_time import HostClock

log = logging.getLogger("sigmill.lane")

NAME: Final = "latest-time"

KEEP_EACH_MS: Final = 60_000
"""The file is this much behind at most."""

SKEW_MS: Final = 60_000
"""A step of the clock by less is not told from its drift: envelopes allow as much skew."""

MOST_AHEAD_MS: Final = 24 * 3_600_000
"""A kept time that is further ahead of the clock was itself wrong: it would refuse every envelope until the clock is there. A
step ahead that lasts as long is no mistake."""

_LARGEST_BYTES: Final = 1024

_Ms = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """Times in Unix ms, and in ms since the boot ``boot``.

    At ``boot_ms`` the clock showed ``wall_ms``: a point of its course. ``doubted_ms``: latest time of a step ahead that began
    at ``ahead_since_ms`` (since boot); 0 without one. ``left_wall_ms`` and ``left_boot_ms``: a point of the course that the
    clock left when it went back by more than a day; 0 without one.
    """

    latest_ms: _Ms = 0
    boot: Annotated[str, msgspec.Meta(max_length=64)] = ""
    wall_ms: _Ms = 0
    boot_ms: _Ms = 0
    doubted_ms: _Ms = 0
    ahead_since_ms: _Ms = 0
    left_wall_ms: _Ms = 0
    left_boot_ms: _Ms = 0


_decoder: Final = msgspec.json.Decoder(_Seen | int)


class LatestTime:
    """Latest time seen, in Unix ms; kept in ``folder`` where there is one. To be used by one thread."""

    def __init__(self, folder: Path | None = None, host: HostClock | None = None) -> None:
        self._file = None if folder is None else folder / NAME
        self._host = host or HostClock()
        self._boot = ""
        self._seen = _Seen()
        self._kept_ms = 0
        self._read = False
        self._reported = False
        self._left_course_ms: int | None = None

    @property
    def left_course_ms(self) -> int | None:
        """Time at the last ``see`` by the course that the clock has left: by a step ahead that is doubted, or by more than a
        day back. None while it follows the only course that is known.
        """
        return self._left_course_ms

    def see(self, now_ms: int) -> int:
        """The latest time seen, this one included. A file that cannot be read or written is as none."""
        boot_ms = self._host.since_boot_ms()
        if not self._read:
            self._start(now_ms, boot_ms)
        seen = _on_course(self._plausible(self._seen, now_ms), now_ms, boot_ms)
        if not seen.wall_ms:
            seen = replace(seen, boot=self._boot, wall_ms=now_ms, boot_ms=boot_ms)
        self._left_course_ms = _left_course(seen, boot_ms)
        expected_ms = seen.wall_ms + boot_ms - seen.boot_ms
        if now_ms > expected_ms + SKEW_MS and not self._lasts(seen, boot_ms):
            self._left_course_ms = expected_ms
            return self._doubt(seen, now_ms, boot_ms, ahead_ms=now_ms - expected_ms)
        if now_ms >= expected_ms - SKEW_MS:  # on its course, or the step ahead has lasted
            seen = replace(seen, doubted_ms=0, ahead_since_ms=0)
        if now_ms > expected_ms:
            seen = replace(seen, wall_ms=now_ms, boot_ms=boot_ms)
        self._seen = replace(seen, latest_ms=max(seen.latest_ms, now_ms))
        if self._seen.latest_ms >= self._kept_ms + KEEP_EACH_MS:
            self._merge(now_ms)
            self._keep()
        latest_ms = max(self._seen.latest_ms, self._seen.doubted_ms)
        self._report(latest_ms - now_ms)
        return latest_ms

    def _lasts(self, seen: _Seen, boot_ms: int) -> bool:
        """Whether a step ahead has lasted so long that it was no mistake."""
        return seen.doubted_ms > 0 and boot_ms - seen.ahead_since_ms >= MOST_AHEAD_MS

    def _doubt(self, seen: _Seen, now_ms: int, boot_ms: int, *, ahead_ms: int) -> int:
        """Remember a time of a step ahead apart from those that are certain."""
        begins = seen.doubted_ms == 0
        since_ms = boot_ms if begins else seen.ahead_since_ms
        self._seen = replace(seen, doubted_ms=max(seen.doubted_ms, now_ms), ahead_since_ms=since_ms)
        if begins:
            log.warning("clock.set_ahead", extra={"ahead_s": ahead_ms // 1000})
            self._keep()
        latest_ms = max(seen.latest_ms, self._seen.doubted_ms)
        self._report(latest_ms - now_ms)
        return latest_ms

    def _start(self, now_ms: int, boot_ms: int) -> None:
        self._read = True
        self._boot = self._host.boot_id()
        kept = self._plausible(self._stored(), now_ms)
        self._kept_ms = kept.latest_ms
        if kept.boot != self._boot or not kept.boot or kept.boot_ms > boot_ms:
            # Of the course before this boot only the latest time is known; it counts, as the safe choice.
            latest_ms = max(kept.latest_ms, kept.doubted_ms)
            kept = _Seen(
                latest_ms=latest_ms, boot=self._boot, wall_ms=max(latest_ms, now_ms), boot_ms=boot_ms
            )
        self._seen = kept

    def _plausible(self, seen: _Seen, now_ms: int) -> _Seen:
        """Times seen, without times that are more than a day ahead of the clock: they were wrong."""
        if seen.latest_ms - MOST_AHEAD_MS > now_ms:
            self._disregard(seen.latest_ms, now_ms)
            self._kept_ms = 0
            return _Seen(boot=seen.boot, left_wall_ms=seen.wall_ms, left_boot_ms=seen.boot_ms)
        if seen.doubted_ms - MOST_AHEAD_MS > now_ms:
            self._disregard(seen.doubted_ms, now_ms)
            return replace(seen, doubted_ms=0, ahead_since_ms=0)
        return seen

    def _stored(self) -> _Seen:
        if self._file is None:
            return _Seen()
        try:
            found = _decoder.decode(read_regular(self._file, largest_bytes=_LARGEST_BYTES))
            return _Seen(latest_ms=min(max(found, 0), 2**53)) if isinstance(found, int) else found
        except (OSError, ValueError):
            return _Seen()

    def _merge(self, now_ms: int) -> None:
        """Take over a later time that another lane has kept since this one read the file."""
        other = self._stored()
        if self._seen.latest_ms < other.latest_ms <= now_ms + MOST_AHEAD_MS:
            self._seen = replace(self._seen, latest_ms=other.latest_ms)

    def _report(self, back_ms: int) -> None:
        """Log once that the clock was set back, until it has passed the latest time again."""
        if back_ms == 0:
            self._reported = False
        elif back_ms >= SKEW_MS and not self._reported:
            self._reported = True
            log.error("clock.set_back", extra={"back_s": back_ms // 1000})

    def _disregard(self, latest_ms: int, now_ms: int) -> None:
        log.error("clock.far_back", extra={"latest_s": latest_ms // 1000, "now_s": now_ms // 1000})

    def _keep(self) -> None:
        """Replace the file, not durably: after a power loss an older time is good enough."""
        self._kept_ms = self._seen.latest_ms
        if self._file is None:
            return
        new = self._file.with_name(f".{NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):
            new.write_bytes(msgspec.json.encode(self._seen))
            new.replace(self._file)


def _left_course(seen: _Seen, boot_ms: int) -> int | None:
    """Time by the course that the clock left by more than a day back."""
    return seen.left_wall_ms + boot_ms - seen.left_boot_ms if seen.left_wall_ms else None


def _on_course(seen: _Seen, now_ms: int, boot_ms: int) -> _Seen:
    """Times seen; with the course that the clock had left, where it has returned to it."""
    left_ms = _left_course(seen, boot_ms)
    if left_ms is None or abs(now_ms - left_ms) > SKEW_MS:
        return seen
    return _Seen(latest_ms=seen.latest_ms, boot=seen.boot, wall_ms=now_ms, boot_ms=boot_ms)
