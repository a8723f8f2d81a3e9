"""Clocks of this host. Unix milliseconds are the unit of all times in envelopes, jobs, records and Redis."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def unix_ms() -> int:
    """Time of this host's clock (Unix ms). Code that is tested with a fake clock takes it as a parameter."""
    return time.time_ns() // 1_000_000


def in_unix_ms(moment: datetime) -> int:
    """A time with its time zone in Unix ms, rounded down. In integers: a float of seconds can be a millisecond early from 2038 on."""
    return (moment - _EPOCH) // _MILLISECOND


def from_unix_ms(at_ms: int) -> datetime:
    """Unix ms as a time of UTC, exact; raises ``OverflowError`` for what is in no year from 1 to 9999."""
    return _EPOCH + timedelta(milliseconds=at_ms)


class HostClock:
    """The clock of this host that can be set, and those that cannot. Raises nothing."""

    def wall_s(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds of CLOCK_MONOTONIC, which stands still while the host sleeps."""
        return time.monotonic()

    def since_boot_ms(self) -> int:
        """Milliseconds since boot, with the time that the host slept (CLOCK_BOOTTIME)."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        """Id of the present boot; empty where the kernel tells none."""
        try:
            return _BOOT_ID.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
