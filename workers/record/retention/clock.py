"""Clock of a record: time that has passed since it began, in Unix ms of the host's clock at its beginning.

Old entries are removed by it, and so it must not run ahead. While the host is up it counts the time since boot
(CLOCK_BOOTTIME), which is never set; across a boot the host's clock. Of one pause it counts 31 days at most. A clock that is set
years ahead therefore removes nothing, and a pause keeps old entries longer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from queueing.files.checked_file import read_checked, write_checked
from queueing.unix_time import HostClock

FILE_NAME: Final = "clock"
"""In the folder of the record. It is there once anything of the record was made durable."""

MOST_PAUSE_MS: Final = 31 * 86_400_000


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks at one time: the record's and the host's (Unix ms), and the time since the boot of this id."""

    record_ms: Annotated[int, msgspec.Meta(ge=0)]
    host_ms: int
    boot: str
    since_boot_ms: int


class RecordClock:
    """Clock of the record in ``folder``."""

    def __init__(self, folder: Path, host: HostClock | None = None) -> None:
        self._path = folder / FILE_NAME
        self._host = host or HostClock()
        self._boot = self._host.boot_id()

    @property
    def is_kept(self) -> bool:
        """Whether the file of this clock can be read. Raises ``OSError``."""
        return self._last() is not None

    def advance(self, newest_mark_ms: int | None) -> Reading:
        """Read all clocks, and keep what they say, durably. Raises ``OSError``.

        ``newest_mark_ms``: the last time of this clock that was noted elsewhere, from which it continues where its file is
        lost or damaged. Without one it begins at the host's clock.
        """
        host_ms, since_boot = int(self._host.wall_s() * 1000), self._host.since_boot_ms()
        last = self._last()
        if last is None:
            record_ms = host_ms if newest_mark_ms is None else newest_mark_ms
        else:
            same_boot = bool(self._boot) and last.boot == self._boot
            passed_ms = since_boot - last.since_boot_ms if same_boot else host_ms - last.host_ms
            record_ms = last.record_ms + min(max(passed_ms, 0), MOST_PAUSE_MS)
        reading = Reading(record_ms=record_ms, host_ms=host_ms, boot=self._boot, since_boot_ms=since_boot)
        write_checked(self._path, msgspec.msgpack.encode(reading))
        return reading

    def _last(self) -> Reading | None:
        try:
            return msgspec.msgpack.decode(read_checked(self._path), type=Reading)
        except (FileNotFoundError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None
