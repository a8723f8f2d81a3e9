"""Unix time of this host in milliseconds: the unit of all times in envelopes, jobs, records and Redis."""

from __future__ import annotations

import time


def unix_ms() -> int:
    """Time of this host's clock (Unix ms). Code that is tested with a fake clock takes it as a parameter."""
    return time.time_ns() // 1_000_000
