"""Jobs that no client was found to have signed: counts, sampled log lines."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from queueing.errors import EnvelopeMalformed, EnvelopeSignature, SigningError
from tests.support.fakes.active_jobs import job_in_work
from tests.support.fakes.recording_log import RecordingLog
from workers.active_job import ActiveJob
from workers.journal.event_records import UnauthenticatedRecord
from workers.pipeline.unauthenticated import REPORT_S, UnauthenticatedJobs
from workers.telemetry.metrics import Metrics


class Clock:
    """Time that the test moves."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> RecordingLog:
    return RecordingLog()


@pytest.fixture
def unauthenticated(clock: Clock, log: RecordingLog) -> UnauthenticatedJobs:
    return UnauthenticatedJobs(Metrics(CollectorRegistry()), log.wal, now_s=clock)


def refused(error: SigningError, *, tenant: str = "acme") -> ActiveJob:
    job = job_in_work(tenant=tenant)
    job.fail(error)
    return job


def test_a_tenant_has_one_line_a_minute(
    unauthenticated: UnauthenticatedJobs, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has the counts since the last one; another tenant has its own."""
    for _ in range(5):
        unauthenticated.record(refused(EnvelopeMalformed()))
    unauthenticated.record(refused(EnvelopeMalformed(), tenant="globex"))
    clock.now_s += REPORT_S
    unauthenticated.record(refused(EnvelopeSignature()))
    lines = [(line.tenant, line.reasons) for line in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        ("acme", {"envelope.malformed": 1}),
        ("globex", {"envelope.malformed": 1}),
        ("acme", {"envelope.malformed": 4, "envelope.signature": 1}),
    ]


def test_the_log_has_counts_and_no_envelopes(unauthenticated: UnauthenticatedJobs, log: RecordingLog) -> None:
    """One record a tenant and minute, however many there were; the next one begins at none."""
    for _ in range(20):
        unauthenticated.record(refused(EnvelopeSignature()))
    unauthenticated.record(refused(EnvelopeMalformed(), tenant="globex"))
    assert log.noted == []
    for _ in range(2):
        unauthenticated.record_counts()
    found = [(r.tenant, r.counts) for r in log.noted if isinstance(r, UnauthenticatedRecord)]
    assert found == [("acme", {"envelope.signature": 20}), ("globex", {"envelope.malformed": 1})]
    assert len(log.noted) == len(found)
    assert log.durable == []
