"""Outcomes of a former process of this host: a job that is claimed again is published from here, not signed again."""

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
    """Signed outcomes by job. Refusals are not kept: they cost no signature, and the rules may have changed."""

    def __init__(self) -> None:
        self._outcomes: dict[bytes, OutcomeRecord] = {}

    def add(self, outcomes: Sequence[OutcomeRecord]) -> None:
        """Keep those that have signatures."""
        self._outcomes.update({o.job_id: o for o in outcomes if _is_signed(o)})

    def forget(self, outcome: OutcomeRecord) -> None:
        """Drop an outcome that was published."""
        self._outcomes.pop(outcome.job_id, None)

    def take(self, claimed: ClaimedJob) -> OutcomeRecord | None:
        """Remove and return the outcome of this job: the same tenant, key, algorithm and digests; None without one."""
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
    """Whether the claimed payload is the one that was signed: Redis may hold another one under the same id."""
    if claimed.payload is None:
        return True  # only the payload was lost
    try:
        envelope = read_unverified(decode_job(claimed.payload).sealed).envelope
    except SigningError:
        return False
    return content_hash(envelope) == decode_result(outcome.result).content
