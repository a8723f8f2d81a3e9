"""Composition of the parts that most others work with, and of the limits."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.broker.claims import Claims
from workers.active_jobs import ActiveJobs
from workers.background.lane_records import LaneRecords
from workers.current_config import CurrentConfig
from workers.current_stop_orders import CurrentStopOrders
from workers.intake.ready_tenants import ReadyTenants
from workers.journal.journal import WriteAheadLog
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.limits.fair_queueing import FairShares
from workers.limits.grant_budgets import GrantBudgets
from workers.limits.key_budgets import KeyBudgets
from workers.limits.log_shares import LogShares
from workers.limits.rate_limiter import RateLimiter
from workers.published_epochs import PublishedEpochs
from workers.state.directory import StateDirectory
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """Objects that most other parts work with."""

    config: CurrentConfig
    owner: str
    redis: Redis
    claims: Claims
    metrics: Metrics
    shutdown: ShutdownDeadline
    state: StateDirectory
    wal: WriteAheadLog
    refused_pins: RefusedPins
    jobs: ActiveJobs
    ready_tenants: ReadyTenants
    stop_orders: CurrentStopOrders
    lanes: LaneRegistry
    lane_records: LaneRecords
    log_shares: LogShares
    published_epochs: PublishedEpochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on tenants and keys."""

    limiter: RateLimiter
    shares: FairShares
    budgets: KeyBudgets
    grants: GrantBudgets


def owner_id(host: str, pid: int) -> str:
    """Id of a worker in leases and lists: host, process, and a random part.

    Workers in containers may all be process 1 of a host with one name, and a worker that starts again may get the id of
    its predecessor: neither may extend the other's leases or replace its entry. A lease ends with ``:`` and the fence.
    """
    return f"{re.sub('[^A-Za-z0-9._-]', '-', host)}.{pid}.{secrets.token_hex(4)}"


def make_foundation(config: CurrentConfig, redis: Redis, metrics: Metrics) -> Foundation:
    """Parts that most others work with."""
    service = config.service
    owner = owner_id(os.uname().nodename, os.getpid())
    state = StateDirectory(service.state_dir, configured_in=service.file)
    refused_pins = RefusedPins(service.state_dir)
    ready_tenants = ReadyTenants(config)
    stop_orders = CurrentStopOrders()
    log_shares = LogShares(config, metrics)
    wal = WriteAheadLog(
        state.log_folder,
        sync_timer=metrics.log_sync_seconds,
        usage=log_shares,
        followed=service.record.enabled,
    )
    lane_records = LaneRecords(wal)
    return Foundation(
        config=config,
        owner=owner,
        redis=redis,
        claims=Claims(
            redis,
            owner=owner,
            lease_ms=int(service.worker.lease_s * 1000),
            wait=service.redis.replica_wait(),
        ),
        metrics=metrics,
        shutdown=ShutdownDeadline(service.worker.drain_s),
        state=state,
        wal=wal,
        refused_pins=refused_pins,
        jobs=ActiveJobs(),
        ready_tenants=ready_tenants,
        stop_orders=stop_orders,
        lanes=LaneRegistry(
            config.configuration,
            refused_pins=refused_pins,
            drained=DrainedTokens(service.state_dir),
            metrics=metrics,
            recorder=lane_records,
            capacity_listener=ready_tenants,
            stop_orders=stop_orders,
        ),
        lane_records=lane_records,
        log_shares=log_shares,
        published_epochs=PublishedEpochs(redis, config),
    )


def make_limits(base: Foundation) -> Limits:
    """Limits on tenants and keys."""
    limiter = RateLimiter(base.config, base.metrics)
    return Limits(
        limiter=limiter,
        shares=FairShares(limiter),
        budgets=KeyBudgets(base.redis, base.config),
        grants=GrantBudgets(base.redis, base.config),
    )


def export_gauges(base: Foundation) -> None:
    """Gauges that prometheus_client reads when it is scraped."""
    metrics, jobs, wal, epochs = base.metrics, base.jobs, base.wal, base.published_epochs
    metrics.tenants.set(len(base.config.tenants))
    metrics.config_behind.set_function(lambda: epochs.behind)
    metrics.in_flight.set_function(lambda: len(jobs))
    metrics.log_failing.set_function(lambda: wal.failing)
    metrics.log_lag_seconds.set_function(lambda: wal.lag_s)
    metrics.log_damage.set_function(lambda: wal.damaged)
    metrics.log_bytes.set_function(lambda: wal.bytes)
