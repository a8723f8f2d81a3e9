"""Which of a tenant's jobs come first: a place in the queue that lies in the past, by so much.

A queue is ordered by time, and a job is due when its time is past. So a job that is to come earlier gets an
earlier time, and nothing starves: a nightly job comes before every release that is submitted three hours
after it. Those three hours end before an envelope does (4 h by default).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Priority(StrEnum):
    """What a client may ask for; among the tenant's own jobs only."""

    RELEASE = "release"
    NORMAL = "normal"
    NIGHTLY = "nightly"


_HEAD_START_S: Final = {Priority.RELEASE: 3 * 3600, Priority.NORMAL: 3600, Priority.NIGHTLY: 0}
"""What a stock arq producer enqueues stands at its own time, as nightly jobs do."""


def head_start_ms(priority: Priority) -> int:
    """How far before its time of arrival a job's place lies."""
    return _HEAD_START_S[priority] * 1000
