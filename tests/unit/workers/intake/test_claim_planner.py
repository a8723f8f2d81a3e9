"""Plan of a claim round: lane capacity, limits, fair shares, suspects."""

from __future__ import annotations

from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from queueing.broker.claims import ClaimResult
from queueing.protocol.limits import ClaimLimits
from tests.support.fakes.configurations import current_config, tenant
from tests.support.fakes.shards import Shards
from workers.config.settings import WorkerSettings
from workers.config.tenant_limits import TenantLimits
from workers.intake.claim_planner import MOST_AT_ONCE, ROUND_UNITS, ClaimPlanner
from workers.intake.ready_tenants import ReadyTenants
from workers.lanes.supervisor.registry import LaneRegistry
from workers.limits.fair_queueing import FairShares
from workers.limits.log_shares import LogShares
from workers.limits.rate_limiter import RateLimiter
from workers.telemetry.metrics import Metrics


class Worker:
    """A planner of these tenants; ``capacity``: digests that each one's lanes can start."""

    def __init__(self, *names: str, weights: dict[str, float] | None = None) -> None:
        limits = {name: TenantLimits(weight=(weights or {}).get(name, 1.0)) for name in names}
        config = current_config([tenant(name, limits=limits[name]) for name in names])
        self.shards = Shards()
        self.capacity = dict.fromkeys(names, 100)
        self.ready = ReadyTenants(config)
        self.limiter = RateLimiter(config, Metrics(CollectorRegistry()), lambda: 0.0)
        self.log_shares = LogShares(config, Metrics(CollectorRegistry()))
        self.planner = ClaimPlanner(
            WorkerSettings(claim_jobs=64, poison_attempts=3),
            ready=self.ready,
            lanes=cast("LaneRegistry", self),
            limiter=self.limiter,
            shares=FairShares(self.limiter),
            held=self.shards.held(),
            log_shares=self.log_shares,
        )
        self.ready.ring_all()

    def capacity_of(self, name: str) -> int:
        """The registry."""
        return self.capacity[name]

    def plan(self) -> dict[str, tuple[int, int]]:
        """Jobs and digests of each tenant."""
        return {r.tenant: (r.most_jobs, r.most_digests) for r in self.planner.plan()}


def test_a_tenant_alone_may_claim_what_its_lanes_can_start() -> None:
    """Its request has all digests that its lanes can start, and as many jobs as a round may have."""
    assert Worker("acme").plan() == {"acme": (64, 100)}


def test_a_tenant_whose_lanes_are_full_is_left_out() -> None:
    """Its jobs stay in Redis, where another worker can claim them."""
    worker = Worker("acme", "globex")
    worker.capacity["acme"] = 0
    assert list(worker.plan()) == ["globex"]


def test_a_limited_tenant_is_left_out_until_its_limit_ends() -> None:
    """The plan tells when that is."""
    worker = Worker("acme", "globex")
    request = worker.limiter.claim_request("acme", most_jobs=1, most_digests=1)
    worker.limiter.on_claim(request, ClaimResult(now_ms=0, more=True, jobs=(), wait_s=2.5, limited="rate"))
    assert list(worker.plan()) == ["globex"]
    assert worker.planner.kept_back_until_s() == 2.5


def test_a_tenant_whose_shard_is_held_is_left_out() -> None:
    """A shard without its replicas costs the tenants of the others nothing."""
    worker = Worker("acme", "globex")
    worker.shards.places = {"acme": "one:1", "globex": "two:1"}
    worker.shards.unconfirmed = {"acme"}
    assert list(worker.plan()) == ["globex"]
    assert worker.planner.kept_back_until_s() < 1.0


def test_a_tenant_that_has_filled_its_share_of_the_logs_disk_is_left_out() -> None:
    """Its jobs stay in Redis for a worker with space; its neighbour is claimed for. The plan is made again soon."""
    worker = Worker("acme", "globex")
    worker.log_shares.log_written("acme", 1000)
    worker.log_shares.judge(999)
    assert list(worker.plan()) == ["globex"]
    assert worker.planner.kept_back_until_s() < float("inf")
    worker.log_shares.judge(2000)
    assert set(worker.plan()) == {"acme", "globex"}


def test_tenants_share_a_round_by_weight() -> None:
    """The units of cost of a round are divided by weight, and its jobs in proportion."""
    worker = Worker("heavy", "light", weights={"heavy": 3.0})
    worker.capacity = {"heavy": 10**6, "light": 10**6}
    plan = worker.plan()
    assert {name: digests for name, (_, digests) in plan.items()} == {
        "heavy": ROUND_UNITS * 3 / 4,
        "light": ROUND_UNITS / 4,
    }
    assert {name: jobs for name, (jobs, _) in plan.items()} == {"heavy": 48, "light": 16}


def test_of_many_tenants_some_are_in_each_round() -> None:
    """One round trip stays short with thousands of tenants."""
    worker = Worker(*(f"t{i}" for i in range(MOST_AT_ONCE + 10)))
    assert len(worker.plan()) == MOST_AT_ONCE


@pytest.mark.parametrize("active, alone", [(0, True), (1, False)])
def test_a_suspect_may_be_claimed_when_its_tenant_has_no_other_job(active: int, alone: bool) -> None:
    """A job is a suspect one crash before it would be poisoned."""
    worker = Worker("acme")
    for _ in range(active):
        worker.ready.isolation.began("acme")
    (request,) = worker.planner.plan()
    assert (request.suspect_at, request.alone) == (2, alone)


def test_nothing_is_planned_for_a_tenant_that_waits_for_its_last_job() -> None:
    """The tenant's suspect is next, once its last job has ended."""
    worker = Worker("acme")
    worker.ready.isolation.began("acme")
    worker.ready.isolation.wait("acme")
    assert worker.plan() == {}


def test_the_limits_of_the_configuration_are_in_the_request() -> None:
    """The claim script enforces them."""
    limits = ClaimLimits(rate_per_s=10.0, burst=20.0)
    config = current_config([tenant("acme", limits=TenantLimits(claim=limits))])
    limiter = RateLimiter(config, Metrics(CollectorRegistry()), lambda: 0.0)
    assert limiter.claim_request("acme", most_jobs=1, most_digests=1).limits == limits
