"""Lease keeper: whose leases it extends, and which worker's it lets run out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimedJob, Claims
from queueing.config.redis import RedisConfig
from queueing.errors import QueueUnavailable
from tests.support.fakes.active_jobs import job_in_work
from workers.active_job import ActiveJobs
from workers.lifecycle.heartbeat import Heartbeat
from workers.pipeline.lease_keeper import LOOP_PATIENCE_LEASES, LeaseKeeper
from workers.telemetry.metrics import Metrics

LEASE_S = 15.0


@dataclass
class Queue:
    """Redis, which was asked to extend these jobs; ``away``: it does not answer."""

    extended: list[str] = field(default_factory=list)
    away: bool = False

    async def extend(self, jobs: dict[str, list[ClaimedJob]]) -> list[ClaimedJob]:
        if self.away:
            raise QueueUnavailable("away")
        self.extended += [*jobs]
        return []


@dataclass
class LoopSeen:
    """Heartbeat of a loop that was last alive ``unseen_s`` seconds ago."""

    unseen_s: float = 0.0

    @property
    def seen_at(self) -> float:
        return time.monotonic() - self.unseen_s


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def loop() -> LoopSeen:
    return LoopSeen()


@pytest.fixture
def keeper(loop: LoopSeen) -> LeaseKeeper:
    """Keeper of a job of acme and one of globex; its thread is not started."""
    jobs = ActiveJobs()
    for tenant in ("acme", "globex"):
        jobs.add(job_in_work(tenant=tenant))
    return LeaseKeeper(
        RedisConfig(host="nowhere"),
        owner="one",
        lease_s=LEASE_S,
        jobs=jobs,
        heartbeat=cast("Heartbeat", loop),
        metrics=Metrics(CollectorRegistry()),
    )


async def extend(keeper: LeaseKeeper, queue: Queue) -> bool:
    return await keeper._extend(cast("Claims", queue))


async def test_the_leases_of_all_jobs_are_extended_in_one_round_trip(
    keeper: LeaseKeeper, queue: Queue
) -> None:
    """By tenant."""
    assert await extend(keeper, queue)
    assert sorted(queue.extended) == ["acme", "globex"]


@pytest.mark.parametrize("leases, extended", [(LOOP_PATIENCE_LEASES - 1, 2), (LOOP_PATIENCE_LEASES + 1, 0)])
async def test_a_worker_whose_loop_hangs_for_good_loses_its_leases(
    keeper: LeaseKeeper, queue: Queue, loop: LoopSeen, leases: int, extended: int
) -> None:
    """After some lengths of a lease: else no other worker would ever sign its jobs."""
    loop.unseen_s = leases * LEASE_S
    assert await extend(keeper, queue)
    assert len(queue.extended) == extended


async def test_a_redis_without_an_answer_is_asked_again_soon(keeper: LeaseKeeper, queue: Queue) -> None:
    """A round that failed is no round."""
    queue.away = True
    assert not await extend(keeper, queue)
