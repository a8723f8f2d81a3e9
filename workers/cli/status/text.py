"""State of a job as a short text, for clients and operators."""

from __future__ import annotations

from typing import Final

from queueing.broker.job_values import JobState, JobStatus

_TEXTS: Final = {
    JobState.QUEUED: "waiting in the queue",
    JobState.RUNNING: "being signed",
    JobState.UNKNOWN: "Redis has neither the job nor its result",
}


def text_of(status: JobStatus) -> str:
    """The error with its code, the counts of a finished job, or the state."""
    if status.error is not None:
        return f"{status.error.message} [{status.error.reason}]"
    if status.state is JobState.DONE:
        return f"{status.signed} signed, {status.failed} failed"
    return _TEXTS.get(status.state, "")
