"""Submitted jobs: the requests that they were submitted as."""

from __future__ import annotations

from queueing.client.submitted_job import Job, JobPart
from queueing.protocol.algorithms import Algorithm


def test_the_earlier_name_of_requests_still_works() -> None:
    """Build farms' scripts call ``drafts()``."""
    part = JobPart(job_id="{acme}1", idempotency_key=b"k" * 16, digests=(bytes(32),))
    job = Job(
        tenant="acme", key="release", key_version=1, algorithm=Algorithm.ED25519, count=1, parts=(part,)
    )
    assert list(job.drafts()) == list(job.requests())
    assert [request.digests for request in job.drafts()] == [(bytes(32),)]
