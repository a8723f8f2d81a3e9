"""Outcomes that a former process of this host made durable: a job that comes back is published from here, not signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import SigningError
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import JobOutcome, content_hash, decode_job, decode_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.broker.claims import ClaimedJob
    from workers.journal.records import OutcomeRecord


class RecoveredResults:
    """Signed outcomes by job. Refusals are not kept: they cost no signature, and may be judged otherwise now."""

    def __init__(self) -> None:
        self._outcomes: dict[bytes, OutcomeRecord] = {}

    def add(self, outcomes: Sequence[OutcomeRecord]) -> None:
        """Remember those that have signatures."""
        self._outcomes.update({o.job_id: o for o in outcomes if _is_signed(o)})

    def forget(self, outcome: OutcomeRecord) -> None:
        """It was released."""
        self._outcomes.pop(outcome.job_id, None)

    def take(self, claimed: ClaimedJob) -> OutcomeRecord | None:
        """The outcome of this very job, once: the same tenant, the same key, algorithm and digests."""
        outcome = self._outcomes.get(claimed.job_id)
        if outcome is None or outcome.tenant != claimed.tenant or not _same_content(outcome, claimed):
            return None
        return self._outcomes.pop(claimed.job_id)


def _is_signed(outcome: OutcomeRecord) -> bool:
    try:
        return isinstance(decode_result(outcome.result).outcome, JobOutcome)
    except SigningError:
        return False


def _same_content(outcome: OutcomeRecord, claimed: ClaimedJob) -> bool:
    """Whoever owns Redis can put other content under a job's id: it is not what was signed."""
    if claimed.payload is None:
        return True  # only the payload was lost
    try:
        envelope = read_unverified(decode_job(claimed.payload).sealed).envelope
    except SigningError:
        return False
    return content_hash(envelope) == decode_result(outcome.result).content
