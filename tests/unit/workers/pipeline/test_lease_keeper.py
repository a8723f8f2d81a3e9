"""Rounds of lease extension: all active jobs at once, what was lost, and no round for a loop that hangs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob, Claims
from queueing.config.redis import RedisConfig
from queueing.errors import QueueUnavailable
from tests.support.fakes.active_jobs import claimed, one_sink
from workers.active_job import ActiveJob
from workers.active_jobs import ActiveJobs
from workers.lifecycle.heartbeat import Heartbeat
from workers.pipeline.lease_keeper import LOOP_PATIENCE_LEASES, MOST_NAMED, LeaseKeeper
from workers.telemetry.metrics import Metrics

LEASE_S = 30.0


@dataclass
class FakeClaims:
    """Leases that are all extended, but for those that are ``lost``; or Redis is away."""

    lost: set[bytes] = field(default_factory=set)
    away: bool = False
    settled: Callable[[], None] = lambda: None
    """Called before the answer."""

    rounds: list[dict[str, list[bytes]]] = field(default_factory=list)

    async def extend(self, leased: Mapping[str, Sequence[ClaimedJob]]) -> list[ClaimedJob]:
        self.rounds.append({tenant: sorted(job.job_id for job in jobs) for tenant, jobs in leased.items()})
        if self.away:
            raise QueueUnavailable("away")
        self.settled()
        return [job for jobs in leased.values() for job in jobs if job.job_id in self.lost]


@dataclass
class Beat:
    """Heartbeat of a loop that was last seen ``ago_s`` ago."""

    ago_s: float = 0.0

    @property
    def seen_at(self) -> float:
        return time.monotonic() - self.ago_s


class Kept:
    """A keeper whose thread is not started: a test runs its rounds."""

    def __init__(self) -> None:
        self.claims = FakeClaims()
        self.jobs = ActiveJobs()
        self.beat = Beat()
        self.metrics = Metrics(CollectorRegistry())
        self._keeper = LeaseKeeper(
            RedisConfig(unix_socket="/nowhere"),
            owner="w1",
            lease_s=LEASE_S,
            jobs=self.jobs,
            heartbeat=cast("Heartbeat", self.beat),
            metrics=self.metrics,
        )

    def claim(self, *names: bytes, tenant: str = "acme") -> list[ActiveJob]:
        jobs = [ActiveJob(claimed(name, tenant=tenant), one_sink()) for name in names]
        for job in jobs:
            self.jobs.add(job)
        return jobs

    async def extend(self) -> bool:
        return await self._keeper._extend(cast("Claims", self.claims))

    def events(self, name: str) -> float:
        return float(self.metrics.lease_events.labels(name)._value.get())


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_the_leases_of_all_active_jobs_are_extended_together(kept: Kept) -> None:
    """One round for all tenants; a job that is settled is not extended any more."""
    settled, *_ = kept.claim(b"a", b"b", b"c")
    kept.claim(b"g", tenant="globex")
    kept.jobs.remove(settled)
    assert await kept.extend()
    assert kept.claims.rounds == [{"acme": [b"b", b"c"], "globex": [b"g"]}]
    assert (kept.events("extended"), kept.events("lost")) == (3, 0)


async def test_without_a_job_nothing_is_sent(kept: Kept) -> None:
    """An idle worker costs Redis no command for leases."""
    assert await kept.extend()
    assert kept.claims.rounds == []


async def test_a_lease_that_is_lost_is_counted_and_named(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """Its commit will be fenced. The others are extended, and one line names the first few of many."""
    names = [b"%03d" % i for i in range(MOST_NAMED + 5)]
    kept.claim(b"kept", *names)
    kept.claims.lost = set(names)
    assert await kept.extend()
    assert kept.events("lost") == 0
    for _ in range(3):
        assert await kept.extend()
    assert (kept.events("extended"), kept.events("lost")) == (4, len(names))
    (line,) = [record for record in caplog.records if record.message == "lease.lost"]
    assert line.__dict__["jobs"] == len(names)
    assert len(line.__dict__["job_ids"]) == MOST_NAMED


@pytest.mark.parametrize("settled_before_the_answer", [True, False])
async def test_a_job_that_is_committed_during_a_round_has_lost_no_lease(
    kept: Kept, caplog: pytest.LogCaptureFixture, settled_before_the_answer: bool
) -> None:
    """Its lease is gone when the round comes to Redis, and its end is known to the worker a moment later."""
    (job,) = kept.claim(b"a")
    kept.claims.lost = {b"a"}
    if settled_before_the_answer:
        kept.claims.settled = lambda: kept.jobs.remove(job)
    await kept.extend()
    kept.jobs.remove(job)
    assert await kept.extend()
    assert (kept.events("lost"), caplog.records) == (0, [])


async def test_a_round_without_an_answer_is_to_be_repeated_soon(kept: Kept) -> None:
    """Nothing is counted as lost: Redis may only be slow."""
    kept.claim(b"a")
    kept.claims.away = True
    assert not await kept.extend()
    assert kept.metrics.redis_errors.labels("extend")._value.get() == 1
    assert (kept.events("extended"), kept.events("lost")) == (0, 0)


@pytest.mark.parametrize(
    "leases, extended", [(LOOP_PATIENCE_LEASES - 1, True), (LOOP_PATIENCE_LEASES + 1, False)]
)
async def test_the_leases_of_a_loop_that_hangs_for_good_run_out(
    kept: Kept, caplog: pytest.LogCaptureFixture, leases: int, extended: bool
) -> None:
    """A busy loop keeps them; one that hangs for longer would never sign, and another worker can."""
    caplog.set_level(logging.ERROR)
    kept.claim(b"a")
    kept.beat.ago_s = leases * LEASE_S
    assert await kept.extend()
    assert bool(kept.claims.rounds) is extended
    assert [record.message for record in caplog.records] == ([] if extended else ["lease.loop_hangs"])
