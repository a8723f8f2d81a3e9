"""Registration of the worker: renewed, also after failures of Redis, and removed at a clean shutdown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from queueing.coordination import worker_registry
from queueing.coordination.worker_registry import WorkerInfo
from queueing.errors import QueueUnavailable
from tests.support.fakes.active_jobs import job_in_work
from tests.support.fakes.configurations import current_config, tenant
from workers.active_jobs import ActiveJobs
from workers.background import registration as module
from workers.background.registration import Registration
from workers.lanes.supervisor.pool_status import RegistryState
from workers.lanes.supervisor.registry import LaneRegistry
from workers.limits.log_shares import LogShares
from workers.telemetry.metrics import Metrics


@dataclass
class Worker:
    """Readiness and lanes of a worker, and its entries in Redis; the first ``failures`` attempts fail."""

    ready: bool = True
    draining: bool = False
    failures: int = 0
    entries: list[WorkerInfo] = field(default_factory=list)
    registered: asyncio.Event = field(default_factory=asyncio.Event)
    removed: list[str] = field(default_factory=list)
    jobs: ActiveJobs = field(default_factory=ActiveJobs)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))

    def state(self) -> RegistryState:
        """The registry of lanes."""
        return RegistryState(lanes=2, sessions=8, circuits_open=("acme",), drained=())

    async def register(self, _: Redis, info: WorkerInfo) -> None:
        if self.failures:
            self.failures -= 1
            raise QueueUnavailable
        self.entries.append(info)
        self.registered.set()

    async def deregister(self, _: Redis, owner: str) -> None:
        self.removed.append(owner)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker()
    monkeypatch.setattr(worker_registry, "register", made.register)
    monkeypatch.setattr(worker_registry, "deregister", made.deregister)
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    return made


@pytest.fixture
def log_shares(worker: Worker) -> LogShares:
    return LogShares(current_config([tenant("acme"), tenant("globex")]), worker.metrics)


@pytest.fixture
def registration(worker: Worker, log_shares: LogShares) -> Registration:
    return Registration(
        cast("Redis", None),
        current_config([tenant("acme"), tenant("globex")]),
        owner="w1",
        condition=worker,
        lanes=cast("LaneRegistry", worker),
        jobs=worker.jobs,
        log_shares=log_shares,
        metrics=worker.metrics,
    )


def test_the_entry_names_tenants_that_have_filled_their_share_of_the_disk(
    registration: Registration, log_shares: LogShares
) -> None:
    """`sigmill status` on any host tells of it."""
    assert registration.worker_info().log_paused == ()
    log_shares.log_written("globex", 1000)
    log_shares.judge(10)
    assert registration.worker_info().log_paused == ("globex",)


def test_the_entry_has_the_condition_of_the_worker(worker: Worker, registration: Registration) -> None:
    """As it is when it is asked for."""
    worker.jobs.add(job_in_work())
    info = registration.worker_info()
    assert (info.owner, info.tenants, info.jobs_in_flight) == ("w1", 2, 1)
    assert (info.lanes, info.sessions, info.circuits_open) == (2, 8, ("acme",))
    assert (info.ready, info.draining) == (True, False)
    worker.ready, worker.draining = False, True
    info = registration.worker_info()
    assert (info.ready, info.draining) == (False, True)


async def test_failures_are_counted_and_retried(worker: Worker, registration: Registration) -> None:
    """A worker that Redis forgot is registered again."""
    worker.failures = 2
    running = asyncio.ensure_future(registration.run())
    for _ in range(2):
        async with asyncio.timeout(10):
            await worker.registered.wait()
        worker.registered.clear()
    running.cancel()
    await asyncio.wait({running})
    assert worker.metrics.redis_errors.labels("announce")._value.get() == 2


async def test_a_clean_shutdown_removes_the_entry(worker: Worker, registration: Registration) -> None:
    """A worker that crashed is shown as silent instead."""
    await registration.remove()
    assert worker.removed == ["w1"]
