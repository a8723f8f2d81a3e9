"""Values of jobs in the queue: states, and what became of a cancellation. No Redis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from queueing.errors import Invalid, JobUnknown, SigningError, WaitTimeout
from queueing.protocol.jobs import decode_result

MOST_PLACED: Final = 128
"""Jobs whose place in the queue is asked for at once."""


class JobState(StrEnum):
    """``unknown``: neither the job nor its result is there (any more)."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``signed`` and ``failed`` count digests of a job that is done; ``error`` is that of a job failed whole."""

    job_id: str
    state: JobState
    signed: int = 0
    failed: int = 0
    error: SigningError | None = None

    def as_error(self) -> SigningError | None:
        """Error of the job, retryable while it is under way; None where all is signed."""
        if self.state is JobState.DONE:
            return Invalid("some digests were refused") if self.failed else None
        if self.state is JobState.UNKNOWN:
            return JobUnknown()
        return self.error or WaitTimeout("the job is under way", job_ids=(self.job_id,))


@dataclass(frozen=True, slots=True)
class QueuedState:
    """A job as Redis holds it. ``due_ms``: its place in the queue, or its lease's end."""

    result: bytes | None
    has_job: bool
    due_ms: float | None
    leased: bool

    @property
    def lost(self) -> bool:
        """Whether the job has no result and cannot get one."""
        return self.result is None and (not self.has_job or self.due_ms is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """Jobs in the queue, in work, and ``ahead`` of the first of them: None if this user may not count (an older ACL).

    ``retry_in_s``: a worker returned the first job, and it is due again then; None if it was not returned.
    """

    queued: int
    in_work: int
    ahead: int | None
    retry_in_s: float | None


class CancelStatus(StrEnum):
    """Outcome of one cancellation."""

    CANCELLED = "cancelled"
    CLAIMED = "claimed"
    """A worker has it, or had it and may have signed: it is processed to its end."""
    NOT_QUEUED = "not-queued"
    """Done, unknown, or submitted again meanwhile."""
    FOREIGN = "foreign"
    """The job of another client of the tenant."""


def status_from(job_id: str, found: QueuedState) -> JobStatus:
    """State of a job for people, from what was looked up."""
    if found.result is not None:
        return _finished(job_id, found.result)
    return JobStatus(job_id=job_id, state=_unfinished(found))


def _unfinished(found: QueuedState) -> JobState:
    if found.lost:
        return JobState.UNKNOWN
    return JobState.RUNNING if found.leased else JobState.QUEUED


def _finished(job_id: str, raw: bytes) -> JobStatus:
    try:
        outcome = decode_result(raw).outcome
    except SigningError as error:
        outcome = error
    if isinstance(outcome, SigningError):
        return JobStatus(job_id=job_id, state=JobState.FAILED, error=outcome)
    signed = sum(signature is not None for signature in outcome.signatures)
    failed = len(outcome.signatures) - signed
    return JobStatus(job_id=job_id, state=JobState.DONE, signed=signed, failed=failed)
