"""The state of a job as a short text."""

from __future__ import annotations

import pytest

from queueing.broker.job_values import JobState, JobStatus
from queueing.errors import KeyUnknown
from workers.cli.status.text import text_of


@pytest.mark.parametrize(
    "status, text",
    [
        (JobStatus(job_id="a", state=JobState.QUEUED), "waiting in the queue"),
        (JobStatus(job_id="a", state=JobState.RUNNING), "being signed"),
        (JobStatus(job_id="a", state=JobState.DONE, signed=3, failed=1), "3 signed, 1 failed"),
        (
            JobStatus(job_id="a", state=JobState.FAILED, error=KeyUnknown("no such key")),
            "no such key [key.unknown]",
        ),
    ],
)
def test_texts(status: JobStatus, text: str) -> None:
    """A finished job has its counts, a failed one its error with the code, others their state."""
    assert text_of(status) == text


def test_every_state_without_counts_has_a_text() -> None:
    """No state is shown as an empty text."""
    states = set(JobState) - {JobState.DONE, JobState.FAILED}
    assert all(text_of(JobStatus(job_id="a", state=state)) for state in states)
