"""Claimed jobs without Redis or lanes, and a sink for them."""

from __future__ import annotations

from queueing.broker.claims import ClaimedJob
from queueing.protocol.envelope import Envelope
from queueing.protocol.jobs import JobHints
from workers.active_job import ActiveJob, JobSink, JobSinks
from workers.lanes.protocol import SliceOutcome

FINGERPRINT = b"f" * 32


class FinishedJobs(list[ActiveJob]):
    """Sink that keeps the finished jobs in their order."""

    def finished(self, job: ActiveJob) -> None:
        self.append(job)


def one_sink(sink: JobSink | None = None) -> JobSinks:
    """The same sink for results and returns; one that is not looked at without an argument."""
    sink = FinishedJobs() if sink is None else sink
    return JobSinks(results=sink, returns=sink)


def claimed(job_id: bytes = b"job", *, tenant: str = "acme", lease: bytes = b"worker:7") -> ClaimedJob:
    """A leased job, on its second attempt."""
    return ClaimedJob(
        tenant=tenant, job_id=job_id, due_ms=b"1000", attempt=2, payload=b"payload", lease=lease
    )


def envelope(count: int, *, algorithm: str = "ECDSA_SHA_256") -> Envelope:
    """So many digests, all different."""
    return Envelope(
        audience="test",
        tenant="acme",
        client="ci",
        key="release",
        key_version=0,
        algorithm=algorithm,
        issued_at_ms=0,
        expires_at_ms=1,
        idempotency_key=bytes(16),
        digests=tuple(number.to_bytes(32, "big") for number in range(count)),
    )


def job_in_work(
    sinks: JobSink | JobSinks | None = None,
    count: int = 1,
    *,
    job_id: bytes = b"job",
    tenant: str = "acme",
    algorithm: str = "ECDSA_SHA_256",
    reply_id: str = "",
) -> ActiveJob:
    """A job that was read and is in the lanes."""
    sinks = sinks if isinstance(sinks, JobSinks) else one_sink(sinks)
    job = ActiveJob(claimed(job_id, tenant=tenant), sinks)
    hints = JobHints(n=count, h=b"c" * 16, re=reply_id)
    job.intended = True
    job.set_content(b"sealed", envelope(count, algorithm=algorithm), hints, 1)
    job.slice_sent(count)
    return job


def job_partly_sent(sinks: JobSink | None, count: int, *, sent: int) -> ActiveJob:
    """A job that was read, of which lanes have ``sent`` digests; the others wait for one."""
    job = ActiveJob(claimed(), one_sink(sinks))
    job.intended = True
    job.set_content(b"sealed", envelope(count), JobHints(n=count, h=b"c" * 16), 1)
    job.slice_sent(sent)
    return job


def signed(count: int) -> SliceOutcome:
    """Answer of a lane to that many good digests."""
    return SliceOutcome(None, 3, FINGERPRINT, tuple(b"signature-%d" % i for i in range(count)))
