"""Which claims have an intent or an outcome but no end yet, and in which segment that begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.journal.records import CanaryIntentRecord, IntentRecord, OpenedRecord, OutcomeRecord

if TYPE_CHECKING:
    from workers.journal.records import Record

Claim = tuple[bytes, bytes]
"""Job id and lease: a job that is claimed again is another claim."""


class OpenClaims:
    """What must still be found at a start after a crash. A claim costs about 200 bytes while it is open."""

    def __init__(self) -> None:
        self._since: dict[Claim, int] = {}

    def note(self, record: Record, segment: int) -> None:
        """This record stands in this segment."""
        if isinstance(record, IntentRecord | OutcomeRecord | CanaryIntentRecord):
            self._since.setdefault((record.job_id, record.lease), segment)
        elif not isinstance(record, OpenedRecord):
            self._since.pop((record.job_id, record.lease), None)

    def first(self, present: int) -> int:
        """The oldest segment that matters; ``present`` when nothing is open. O(open claims)."""
        return min(self._since.values(), default=present)

    def __len__(self) -> int:
        return len(self._since)
