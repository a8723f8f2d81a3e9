"""Open claims of a log: those with an intent or an outcome but no end, and the segment in which each began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.journal.records import CanaryIntentRecord, ClaimRecord, IntentRecord, OutcomeRecord

if TYPE_CHECKING:
    from workers.journal.records import Record

Claim = tuple[bytes, bytes]
"""Job id and lease: a job that is claimed again is a new claim."""


class OpenClaims:
    """Claims that a recovery must still find. An open claim costs about 200 bytes."""

    def __init__(self) -> None:
        self._since: dict[Claim, int] = {}

    def apply(self, record: Record, segment: int) -> None:
        """Update the claims by a record of this segment."""
        if isinstance(record, IntentRecord | OutcomeRecord | CanaryIntentRecord):
            self._since.setdefault((record.job_id, record.lease), segment)
        elif isinstance(record, ClaimRecord):
            self._since.pop((record.job_id, record.lease), None)

    def first(self, present: int) -> int:
        """Number of the oldest segment with an open claim; ``present`` where none is open. O(open claims)."""
        return min(self._since.values(), default=present)

    def __len__(self) -> int:
        return len(self._since)
