"""Priorities of a tenant's own jobs: a higher one gets a place in the queue that lies further in the past.

A queue is ordered by time, and a job is due when its time is past. So a job that is to come earlier gets an
earlier time, and nothing starves: a nightly job comes before every release that is submitted three hours
after it. Those three hours end before an envelope does (4 h by default).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Priority(StrEnum):
    """Priority of a job among the tenant's own jobs."""

    RELEASE = "release"
    NORMAL = "normal"
    NIGHTLY = "nightly"


_HEAD_START_S: Final = {Priority.RELEASE: 3 * 3600, Priority.NORMAL: 3600, Priority.NIGHTLY: 0}
"""Jobs of a stock arq producer get the place of their enqueue time, as nightly jobs do."""


def head_start_ms(priority: Priority) -> int:
    """Time by which a job's place precedes its arrival."""
    return _HEAD_START_S[priority] * 1000
