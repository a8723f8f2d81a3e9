"""``sigmill status JOB`` for operators: the words of a job's history."""

from __future__ import annotations

from workers.audit.job_history import JobEvent
from workers.cli.status.jobs import _details


def test_an_outcome_says_that_signatures_were_made_and_not_released() -> None:
    """They are in no result; only this says that the key was used."""
    refused = JobEvent(at_ms=1, what="outcome", lease="w:1", code="client.revoked", dropped=3)
    assert _details(refused) == "client.revoked, up to 3 more signatures made and not released"


def test_an_outcome_that_dropped_nothing_says_nothing_of_it() -> None:
    signed = JobEvent(at_ms=1, what="outcome", lease="w:1", signed=2, failed=1)
    assert _details(signed) == "2 signed, 1 failed"
