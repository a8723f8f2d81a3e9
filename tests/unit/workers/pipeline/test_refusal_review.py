"""Review of refusals: what returns to the queue while a newer file is known of, and the bounds of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.errors import (
    AlgorithmMismatch,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    ConfigBehind,
    EnvelopeAudience,
    EnvelopeExpired,
    EnvelopeMalformed,
    EnvelopeSignature,
    GrantExhausted,
    GrantExpired,
    GrantMalformed,
    GrantRefused,
    JobExpired,
    JobPoisoned,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    PolicyDenied,
    QueueUnavailable,
    SigningError,
)
from tests.support.fakes.active_jobs import FinishedJobs, job_in_work, signed
from tests.support.waiting import turn, until_async
from workers.active_job import ActiveJob, Ending, JobSinks
from workers.pipeline import refusal_review as module
from workers.pipeline.forgeries import ForgeryGuard
from workers.pipeline.refusal_review import GRACE_S, MOST_RETURNS, RefusalReview
from workers.published_epochs import PublishedEpochs
from workers.telemetry.metrics import Metrics


@dataclass
class Cluster:
    """What is known of newer files, the clock, and what became of the jobs."""

    newer: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    in_force: dict[str, int] = field(default_factory=dict)
    looks: list[list[str]] = field(default_factory=list)
    away: bool = False
    silent: bool = False
    now_s: float = 1000.0
    results: FinishedJobs = field(default_factory=FinishedJobs)
    returns: FinishedJobs = field(default_factory=FinishedJobs)
    guard: ForgeryGuard = field(default_factory=lambda: ForgeryGuard(Path("unused")))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def look(self, tenants: Sequence[str]) -> dict[str, int]:
        self.looks.append(list(tenants))
        if self.away:
            raise QueueUnavailable
        if self.silent:
            await asyncio.Event().wait()
        return {name: epoch for name, epoch in self.newer.items() if name in tenants}

    def time_s(self) -> float:
        return self.now_s

    @property
    def settled(self) -> int:
        """Jobs that were returned, and results."""
        return len(self.returns) + len(self.results)

    @property
    def epochs(self) -> PublishedEpochs:
        return cast("PublishedEpochs", Epochs(self))


@dataclass
class Epochs:
    cluster: Cluster

    async def newer(self, tenants: Sequence[str]) -> dict[str, int]:
        return await self.cluster.look(tenants)

    def known(self, tenants: Sequence[str]) -> dict[str, int]:
        return {name: epoch for name, epoch in self.cluster.seen.items() if name in tenants}

    def in_force(self, tenant: str) -> int:
        return self.cluster.in_force.get(tenant, 0)


@pytest.fixture
def cluster() -> Cluster:
    """Another host has a newer file of acme."""
    return Cluster(newer={"acme": 2})


@pytest.fixture
async def review(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RefusalReview]:
    monkeypatch.setattr(module, "PACE_S", 0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=cluster.time_s))
    made = RefusalReview(
        cluster.epochs,
        results=cluster.results,
        forgeries=cluster.guard,
        metrics=Metrics(cluster.registry),
    )
    running = asyncio.ensure_future(made.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def refuse(
    review: RefusalReview,
    cluster: Cluster,
    error: SigningError,
    *,
    job_id: bytes = b"job",
    tenant: str = "acme",
    judged_by: int | None = None,
) -> ActiveJob:
    """A job that a lane refuses; ``judged_by``: epoch of the file."""
    sinks = JobSinks(results=review, returns=cluster.returns)
    job = job_in_work(sinks, job_id=job_id, tenant=tenant)
    job.epoch = judged_by
    job.slice_refused(0, 1, error)
    return job


BY_FILE = [
    AlgorithmMismatch,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    EnvelopeSignature,
    GrantRefused,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    PolicyDenied,
]
BY_JOB = [
    EnvelopeAudience,
    EnvelopeExpired,
    EnvelopeMalformed,
    GrantExhausted,
    GrantExpired,
    GrantMalformed,
    JobExpired,
    JobPoisoned,
]


@pytest.mark.parametrize("error", BY_FILE)
async def test_a_refusal_that_a_newer_file_may_lift_returns_the_job(
    cluster: Cluster, review: RefusalReview, error: type[SigningError]
) -> None:
    """A worker that has this file signs it, or refuses it."""
    job = refuse(review, cluster, error())
    await turn()
    assert (cluster.returns, cluster.results) == ([job], [])
    assert (job.failure, job.ending) == (None, Ending.RETURN)
    assert isinstance(job.unavailable, ConfigBehind)
    assert job.delayed


@pytest.mark.parametrize("error", BY_JOB)
async def test_a_refusal_that_no_file_changes_is_the_result_without_a_look(
    cluster: Cluster, review: RefusalReview, error: type[SigningError]
) -> None:
    """The same on every host."""
    job = refuse(review, cluster, error())
    assert (cluster.returns, cluster.results, cluster.looks) == ([], [job], [])


async def test_a_signed_job_needs_no_look(cluster: Cluster, review: RefusalReview) -> None:
    """Results go on at once."""
    job = job_in_work(JobSinks(results=review, returns=cluster.returns))
    job.slice_done(0, signed(1))
    assert (cluster.results, cluster.looks) == ([job], [])


async def test_where_no_newer_file_is_known_of_a_refusal_is_the_result(
    cluster: Cluster, review: RefusalReview
) -> None:
    """Of this tenant: another one's newer file changes nothing for it."""
    job = refuse(review, cluster, KeyUnknown(), tenant="globex")
    await turn()
    assert (cluster.returns, cluster.results) == ([], [job])
    assert isinstance(job.failure, KeyUnknown)


async def test_jobs_that_are_refused_together_share_one_look(cluster: Cluster, review: RefusalReview) -> None:
    """One round trip for all tenants; each look begins after its jobs were refused."""
    for number in range(3):
        refuse(review, cluster, KeyUnknown(), job_id=b"%d" % number)
    refuse(review, cluster, KeyUnknown(), tenant="globex")
    await turn()
    assert cluster.looks == [["acme", "globex"]]
    assert (len(cluster.returns), len(cluster.results)) == (3, 1)
    refuse(review, cluster, KeyUnknown())
    await turn()
    assert cluster.looks[1:] == [["acme"]]


async def test_a_job_is_returned_so_often_and_then_refused(cluster: Cluster, review: RefusalReview) -> None:
    """Counted in this process, whatever Redis says of its attempts; another job has its own count."""
    for _ in range(MOST_RETURNS + 2):
        refuse(review, cluster, KeyUnknown())
        await turn()
    refuse(review, cluster, KeyUnknown(), job_id=b"other")
    await turn()
    assert [job.job_id for job in cluster.returns] == [b"job"] * MOST_RETURNS + [b"other"]
    assert [job.job_id for job in cluster.results] == [b"job"] * 2
    assert all(isinstance(job.failure, KeyUnknown) for job in cluster.results)


async def test_after_the_time_of_grace_refusals_are_results_until_a_still_newer_file(
    cluster: Cluster, review: RefusalReview
) -> None:
    """A host that stays behind answers as its file says."""
    refuse(review, cluster, KeyUnknown(), job_id=b"a")
    await turn()
    cluster.now_s += GRACE_S
    refuse(review, cluster, KeyUnknown(), job_id=b"b")
    await turn()
    assert (len(cluster.returns), len(cluster.results)) == (1, 1)
    cluster.newer["acme"] = 3
    refuse(review, cluster, KeyUnknown(), job_id=b"c")
    await turn()
    assert [job.job_id for job in cluster.returns] == [b"a", b"c"]


async def test_of_more_jobs_than_are_counted_the_rest_is_refused(
    cluster: Cluster, review: RefusalReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer of jobs does not fill the worker's memory; those that are counted keep their turns."""
    monkeypatch.setattr(module, "MOST_JOBS", 2)
    for name in (b"a", b"b", b"c", b"a"):
        refuse(review, cluster, KeyUnknown(), job_id=name)
        await turn()
    assert [job.job_id for job in cluster.returns] == [b"a", b"b", b"a"]
    assert [job.job_id for job in cluster.results] == [b"c"]


async def test_when_the_file_has_come_a_refusal_is_final(cluster: Cluster, review: RefusalReview) -> None:
    """And the next newer one has its own time of grace, and count."""
    refuse(review, cluster, KeyUnknown())
    await turn()
    cluster.newer.clear()
    refuse(review, cluster, KeyUnknown())
    await turn()
    assert (len(cluster.returns), len(cluster.results)) == (1, 1)
    cluster.newer["acme"] = 3
    cluster.now_s += GRACE_S
    for _ in range(MOST_RETURNS + 1):
        refuse(review, cluster, KeyUnknown())
        await turn()
    assert (len(cluster.returns), len(cluster.results)) == (1 + MOST_RETURNS, 2)


async def test_a_job_that_was_refused_by_the_file_before_is_judged_again(
    cluster: Cluster, review: RefusalReview
) -> None:
    """The file came between the refusal and the look; by the new file the refusal is final."""
    cluster.newer.clear()
    cluster.in_force["acme"] = 2
    for judged_by, returns in ((1, 1), (2, 1), (None, 1)):
        refuse(review, cluster, KeyUnknown(), judged_by=judged_by)
        await turn()
        assert len(cluster.returns) == returns
    assert len(cluster.results) == 2


async def test_a_job_that_a_lane_refused_by_an_older_file_than_the_workers_returns_so_often(
    cluster: Cluster, review: RefusalReview
) -> None:
    """Its host could not read the new file, or has other files; a job has its time of grace and its count, and the next file begins both again."""
    cluster.newer.clear()
    cluster.in_force["acme"] = 2
    for _ in range(MOST_RETURNS + 1):
        refuse(review, cluster, KeyUnknown(), judged_by=1)
        await turn()
    assert (len(cluster.returns), len(cluster.results)) == (MOST_RETURNS, 1)
    cluster.now_s += GRACE_S
    refuse(review, cluster, KeyUnknown(), job_id=b"another", judged_by=1)
    await turn()
    assert (len(cluster.returns), len(cluster.results)) == (MOST_RETURNS, 2)
    cluster.in_force["acme"] = 3
    refuse(review, cluster, KeyUnknown(), judged_by=2)
    await turn()
    assert len(cluster.returns) == MOST_RETURNS + 1


@pytest.mark.parametrize("trouble", ["away", "silent"])
async def test_what_was_seen_before_decides_while_redis_does_not_answer(
    cluster: Cluster, review: RefusalReview, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """A failover in the middle of a rollout refuses nothing for good, and begins no count anew."""
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    setattr(cluster, trouble, True)
    cluster.seen["acme"] = 2

    async def refuse_one() -> None:
        before = cluster.settled
        refuse(review, cluster, KeyUnknown())
        await until_async(lambda: cluster.settled > before, "the look is over")

    for _ in range(MOST_RETURNS + 1):
        await refuse_one()
    assert (len(cluster.returns), len(cluster.results)) == (MOST_RETURNS, 1)


async def test_counts_of_jobs_are_forgotten_when_their_time_is_over(
    cluster: Cluster, review: RefusalReview
) -> None:
    """Also where no further job of the tenant is refused."""
    cluster.in_force["acme"] = 1
    refuse(review, cluster, KeyUnknown())
    refuse(review, cluster, KeyUnknown(), job_id=b"by a lane", judged_by=0)
    await turn()
    cluster.now_s += GRACE_S
    refuse(review, cluster, KeyUnknown(), tenant="globex")
    await turn()
    assert not any(grace.returns for grace in (*review._graces.values(), *review._own.values()))


async def test_without_an_answer_of_redis_a_refusal_is_final(cluster: Cluster, review: RefusalReview) -> None:
    """Nothing is known then; it is counted, and the next job has a look again."""
    cluster.away = True
    job = refuse(review, cluster, KeyUnknown())
    await turn()
    assert (cluster.returns, cluster.results) == ([], [job])
    assert cluster.registry.get_sample_value(
        "sigmill_redis_errors_total", {"operation": "directory"}
    ) == pytest.approx(1)
    cluster.away = False
    refuse(review, cluster, KeyUnknown())
    await turn()
    assert len(cluster.returns) == 1


async def test_a_forged_envelope_is_told_to_the_guard_of_the_log_though_its_job_returns(
    cluster: Cluster, review: RefusalReview
) -> None:
    """It would get an intent into the log at each of its returns."""
    assert not cluster.guard.must_verify("acme", 100)
    refuse(review, cluster, EnvelopeSignature())
    assert cluster.guard.must_verify("acme", 100)
    await turn()
    assert len(cluster.returns) == 1
