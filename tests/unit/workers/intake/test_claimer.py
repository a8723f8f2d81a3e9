"""One claim: its jobs are registered and dispatched, recovered ones published, and excess ones refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Claims
from queueing.errors import JobExpired, LimitBacklog, QueueUnavailable, QueueUnconfirmed
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import seal
from queueing.protocol.jobs import JobHints, encode_job
from tests.support.fakes.active_jobs import FinishedJobs, envelope
from tests.support.fakes.configurations import current_config, tenant
from tests.support.fakes.recording_log import RecordingLog
from tests.support.fakes.shards import Shards
from workers.active_job import ActiveJob
from workers.active_jobs import ActiveJobs
from workers.intake import poll_schedule
from workers.intake.claimer import Claimer, Reply
from workers.intake.ready_tenants import ReadyTenants
from workers.limits.rate_limiter import RateLimiter
from workers.pipeline.dispatcher import Dispatcher, Pipeline
from workers.pipeline.forgeries import ForgeryGuard
from workers.pipeline.refusal_review import RefusalReview
from workers.pipeline.result_publisher import ResultPublisher
from workers.pipeline.retry import JobReturner
from workers.pipeline.unauthenticated import UnauthenticatedJobs
from workers.telemetry.metrics import Metrics


class Publisher(FinishedJobs):
    """Sink of results that has recovered outcomes of these jobs."""

    recovered: frozenset[bytes] = frozenset()

    def publish_recovered(self, job: ActiveJob) -> bool:
        return job.claimed.job_id in self.recovered


@dataclass
class Queue:
    """Redis, with one reply for each tenant that is claimed for; and the dispatcher."""

    replies: dict[str, Reply] = field(default_factory=dict)
    lost: bool = False
    dispatched: list[ActiveJob] = field(default_factory=list)
    dispatches: int = 0

    async def claim(self, requests: Sequence[ClaimRequest]) -> list[Reply]:
        if self.lost:
            raise QueueUnavailable("late", perhaps_done=True)
        return [self.replies[request.tenant] for request in requests]

    async def dispatch(self, jobs: Sequence[ActiveJob]) -> None:
        self.dispatched += jobs
        self.dispatches += 1


@dataclass
class Worker:
    """A claimer with its queue, of the tenants acme and globex."""

    queue: Queue = field(default_factory=Queue)
    publisher: Publisher = field(default_factory=Publisher)
    jobs: ActiveJobs = field(default_factory=ActiveJobs)
    shards: Shards = field(default_factory=lambda: Shards({"acme": "one:1", "globex": "two:1"}))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        config = current_config([tenant("acme"), tenant("globex")])
        metrics = Metrics(self.registry)
        self.ready = ReadyTenants(config)
        self.limiter = RateLimiter(config, metrics)
        self.held = self.shards.held()
        self.claimer = Claimer(
            cast("Claims", self.queue),
            pipeline=Pipeline(
                dispatcher=cast("Dispatcher", self.queue),
                review=cast("RefusalReview", self.publisher),
                publisher=cast("ResultPublisher", self.publisher),
                returner=cast("JobReturner", FinishedJobs()),
                unauthenticated=UnauthenticatedJobs(metrics, RecordingLog().wal),
                forgeries=ForgeryGuard(config.service.state_dir),
            ),
            ready=self.ready,
            limiter=self.limiter,
            jobs=self.jobs,
            held=self.held,
            metrics=metrics,
        )

    async def claim(self, *tenants: str) -> None:
        await self.claimer.claim(
            [self.limiter.claim_request(name, most_jobs=8, most_digests=8) for name in tenants]
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"sigmill_{name}", labels)


@pytest.fixture
def worker() -> Worker:
    return Worker()


def claimed(job_id: bytes, *, tenant: str = "acme", payload: bytes | None = b"") -> ClaimedJob:
    return ClaimedJob(tenant=tenant, job_id=job_id, due_ms=b"1", attempt=1, payload=payload, lease=b"w:1")


def result(*jobs: ClaimedJob, more: bool = False, excess: tuple[ClaimedJob, ...] = ()) -> ClaimResult:
    return ClaimResult(now_ms=0, more=more, jobs=jobs, excess=excess)


async def test_claimed_jobs_are_registered_and_dispatched_together(worker: Worker) -> None:
    """Their tenants stay ready: only a claim that finds nothing arms the doorbell."""
    worker.queue.replies = {
        "acme": result(claimed(b"a"), claimed(b"b")),
        "globex": result(claimed(b"c", tenant="globex")),
    }
    await worker.claim("acme", "globex")
    assert [job.job_id for job in worker.queue.dispatched] == [b"a", b"b", b"c"]
    assert worker.queue.dispatches == 1
    assert (len(worker.jobs), worker.claimer.busy) == (3, True)
    assert list(worker.ready) == ["acme", "globex"]


async def test_a_claim_that_finds_nothing_ends_the_tenants_readiness(worker: Worker) -> None:
    """Its doorbell is armed now; nothing is dispatched."""
    worker.ready.ring("acme")
    worker.queue.replies = {"acme": result()}
    await worker.claim("acme")
    assert (list(worker.ready), worker.queue.dispatched) == ([], [])


async def test_a_doorbell_that_rings_during_the_claim_is_not_lost(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply says that there was nothing, and the tenant is ready all the same."""

    async def claim(requests: Sequence[ClaimRequest]) -> list[Reply]:
        worker.ready.ring("acme")
        return [result() for _ in requests]

    monkeypatch.setattr(worker.queue, "claim", claim)
    await worker.claim("acme")
    assert list(worker.ready) == ["acme"]


async def test_a_job_with_a_recovered_outcome_is_published_and_not_signed_again(worker: Worker) -> None:
    """Neither among the claimed jobs nor in the excess of a backlog. It is held until it is published: its lease is
    extended, and a shutdown waits for it.
    """
    worker.publisher.recovered = frozenset({b"a", b"x"})
    worker.queue.replies = {"acme": result(claimed(b"a"), claimed(b"b"), excess=(claimed(b"x"),))}
    await worker.claim("acme")
    assert [job.job_id for job in worker.queue.dispatched] == [b"b"]
    assert sorted(claimed.job_id for claimed in worker.jobs.claimed()) == [b"a", b"b", b"x"]
    assert worker.publisher == []


async def test_excess_jobs_are_refused_with_an_error_that_says_when_to_come_back(worker: Worker) -> None:
    """A job that cannot be read is refused with the error of that."""
    sealed = seal(envelope(1), ClientKey.generate())
    good = claimed(b"good", payload=encode_job(sealed, JobHints(), 1))
    worker.queue.replies = {"acme": result(excess=(good, claimed(b"gone", payload=None)))}
    await worker.claim("acme")
    refused, gone = worker.publisher
    assert isinstance(refused.failure, LimitBacklog)
    assert refused.failure.retry_after_s == 30.0
    assert isinstance(gone.failure, JobExpired)


async def test_a_refused_claim_of_one_tenant_does_not_stop_the_others(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, and the tenant is in the next poll, before its turn: its doorbell may not be armed."""
    worker.queue.replies = {
        "acme": QueueUnavailable("WRONGTYPE"),
        "globex": result(claimed(b"c", tenant="globex")),
    }
    await worker.claim("acme", "globex")
    assert [job.job_id for job in worker.queue.dispatched] == [b"c"]
    assert worker.value("redis_errors_total", operation="claim") == 1
    assert "acme" not in worker.ready
    monkeypatch.setattr(poll_schedule, "OTHERS_AT_ONCE", 0)
    worker.ready.poll(1.0, 1.0)
    assert "acme" in worker.ready


async def test_jobs_of_a_round_trip_that_no_replica_confirms_are_not_dispatched(worker: Worker) -> None:
    """A failover could give them to another worker as well."""
    worker.queue.replies = {"acme": QueueUnconfirmed()}
    with pytest.raises(QueueUnconfirmed):
        await worker.claim("acme")
    assert worker.queue.dispatched == []


async def test_a_shard_that_does_not_confirm_holds_up_its_own_tenants_only(worker: Worker) -> None:
    """The jobs of the other shard are dispatched, nothing is raised, and its tenants may be claimed for at once."""
    worker.queue.replies = {
        "acme": QueueUnconfirmed(),
        "globex": result(claimed(b"c", tenant="globex")),
    }
    await worker.claim("acme", "globex")
    assert [job.job_id for job in worker.queue.dispatched] == [b"c"]
    assert list(worker.held.not_held(["acme", "globex"])) == ["globex"]
    assert list(worker.ready) == ["globex", "acme"]
    assert worker.value("redis_errors_total", operation="replicate") == 1


async def test_a_lost_reply_is_raised(worker: Worker) -> None:
    """The claim loop pauses and claims again; the leases of a lost claim run out."""
    worker.queue.lost = True
    with pytest.raises(QueueUnavailable):
        await worker.claim("acme")


async def test_a_suspect_makes_its_tenant_wait(worker: Worker) -> None:
    """Nothing else of the tenant is claimed until the suspect is settled."""
    suspect = ClaimedJob(
        tenant="acme", job_id=b"s", due_ms=b"1", attempt=1, payload=b"", lease=b"w:1", crashes=2, alone=True
    )
    worker.queue.replies = {"acme": result(suspect, more=True)}
    await worker.claim("acme")
    assert list(worker.ready.claimable()) == []
    worker.ready.job_settled(worker.queue.dispatched[0])
    assert list(worker.ready.claimable()) == ["acme"]
