"""Clocks of this host. Unix milliseconds are the unit of all times in envelopes, jobs, records and Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def unix_ms() -> int:
    """Time of this host's clock (Unix ms). Code that is tested with a fake clock takes it as a parameter."""
    return time.time_ns() // 1_000_000


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
