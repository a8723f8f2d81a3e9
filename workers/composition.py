"""Composition of the signing service: makes every part and connects them; nothing else.

Each part gets the objects that it works with. The order of construction follows the imports: foundation, limits, lanes,
pipeline, intake, background.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.broker.claims import Claims
from workers.active_job import ActiveJobs
from workers.background.backlog_caps_publisher import BacklogCapsPublisher
from workers.background.canary_prober import CanaryProber
from workers.background.clock_watch import ClockWatch
from workers.background.directory_publisher import DirectoryPublisher
from workers.background.hindrance_publisher import HindrancePublisher
from workers.background.log_retention import LogRetention
from workers.background.record_monitor import RecordMonitor
from workers.background.refused_pin_sync import RefusedPinSync
from workers.background.registration import Registration
from workers.background.sealer_process import SealerProcess
from workers.background.statement_signer import StatementSigner
from workers.background.stop_order_sync import StopOrderSync
from workers.config.snapshots import ConfigurationFiles
from workers.current_config import CurrentConfig
from workers.current_stop_orders import CurrentStopOrders
from workers.intake.claim_loop import ClaimLoop
from workers.intake.claim_planner import ClaimPlanner
from workers.intake.claimer import Claimer
from workers.intake.held_shards import HeldShards
from workers.intake.ready_tenants import ReadyTenants
from workers.journal.journal import WriteAheadLog
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.heartbeat import Heartbeat
from workers.lifecycle.reload import Reloader
from workers.lifecycle.shutdown import ShutdownDeadline
from workers.limits.fair_queueing import FairShares
from workers.limits.key_budgets import KeyBudgets
from workers.limits.rate_limiter import RateLimiter
from workers.pipeline.committer import Committer
from workers.pipeline.dispatcher import Dispatcher, Pipeline
from workers.pipeline.lease_keeper import LeaseKeeper
from workers.pipeline.recovered_results import RecoveredResults
from workers.pipeline.result_publisher import ResultPublisher
from workers.pipeline.retry import JobReturner
from workers.pipeline.router import Router
from workers.pipeline.settlement import JobSettlement
from workers.pipeline.unauthenticated import UnauthenticatedJobs
from workers.readiness import Readiness
from workers.service import ServiceParts, SigningService
from workers.state.directory import StateDirectory
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.state.running_workers import PidLock
from workers.telemetry.json_logs import set_levels

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.config.loading import Configuration
    from workers.service import BackgroundTask
    from workers.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class _Foundation:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """Limits on tenants and keys."""

    limiter: RateLimiter
    shares: FairShares
    budgets: KeyBudgets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Syncs:
    """Parts that exchange state with Redis in the background."""

    stop_orders: StopOrderSync
    refused_pins: RefusedPinSync
    directories: DirectoryPublisher
    caps: BacklogCapsPublisher
    registration: Registration


def build_service(
    configuration: Configuration,
    *,
    redis: Redis,
    doorbells: Redis,
    metrics: Metrics,
    files: ConfigurationFiles | None = None,
) -> SigningService:
    """Make the service of this process; opens nothing and starts nothing.

    ``doorbells`` is a connection of its own, for the subscription. ``files`` are those from which the configuration was
    read, for reloads.
    """
    base = _foundation(CurrentConfig(configuration), redis, metrics)
    limits = _limits(base)
    pipeline = _pipeline(base, limits)
    claim_loop = _claim_loop(base, limits, pipeline)
    heartbeat = Heartbeat(metrics)
    readiness = Readiness(
        heartbeat=heartbeat,
        shutdown=base.shutdown,
        claim_loop=claim_loop,
        publisher=pipeline.publisher,
        wal=base.wal,
        lanes=base.lanes,
    )
    syncs = _syncs(base, readiness)
    pid_lock = PidLock(base.config.service.state_dir)
    reloader = _reloader(base, syncs, pid_lock, files)
    set_levels(configuration.service.logging.level, jobs=configuration.service.logging.jobs)
    _export_gauges(base)
    return SigningService(
        ServiceParts(
            config=base.config,
            owner=base.owner,
            doorbells=doorbells,
            metrics=metrics,
            heartbeat=heartbeat,
            shutdown=base.shutdown,
            readiness=readiness,
            state=base.state,
            pid_lock=pid_lock,
            wal=base.wal,
            jobs=base.jobs,
            ready_tenants=base.ready_tenants,
            claim_loop=claim_loop,
            lanes=base.lanes,
            publisher=pipeline.publisher,
            leases=_lease_keeper(base, heartbeat),
            budgets=limits.budgets,
            stop_orders=syncs.stop_orders,
            refused_pins=syncs.refused_pins,
            registration=syncs.registration,
            reloader=reloader,
            background=_background(base, limits, pipeline, syncs, reloader),
        )
    )


def owner_id(host: str, pid: int) -> str:
    """Id of a worker in leases and lists: host, process, and a random part.

    Workers in containers may all be process 1 of a host with one name, and a worker that starts again may get the id of
    its predecessor: neither may extend the other's leases or replace its entry. A lease ends with ``:`` and the fence.
    """
    return f"{re.sub('[^A-Za-z0-9._-]', '-', host)}.{pid}.{secrets.token_hex(4)}"


def _foundation(config: CurrentConfig, redis: Redis, metrics: Metrics) -> _Foundation:
    service = config.service
    owner = owner_id(os.uname().nodename, os.getpid())
    state = StateDirectory(service.state_dir, configured_in=service.file)
    refused_pins = RefusedPins(service.state_dir)
    ready_tenants = ReadyTenants(config)
    stop_orders = CurrentStopOrders()
    return _Foundation(
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
        wal=WriteAheadLog(state.log_folder, sync_timer=metrics.log_sync_seconds, usage=metrics),
        refused_pins=refused_pins,
        jobs=ActiveJobs(),
        ready_tenants=ready_tenants,
        stop_orders=stop_orders,
        lanes=LaneRegistry(
            config.configuration,
            refused_pins=refused_pins,
            drained=DrainedTokens(service.state_dir),
            metrics=metrics,
            capacity_listener=ready_tenants,
            stop_orders=stop_orders,
        ),
    )


def _limits(base: _Foundation) -> _Limits:
    limiter = RateLimiter(base.config, base.metrics)
    return _Limits(limiter=limiter, shares=FairShares(limiter), budgets=KeyBudgets(base.redis, base.config))


def _pipeline(base: _Foundation, limits: _Limits) -> Pipeline:
    settlement = JobSettlement(
        budgets=limits.budgets, limiter=limits.limiter, jobs=base.jobs, listener=base.ready_tenants
    )
    unauthenticated = UnauthenticatedJobs(base.metrics)
    recovered = RecoveredResults()
    return Pipeline(
        dispatcher=Dispatcher(
            Router(
                base.config,
                lanes=base.lanes,
                stop_orders=base.stop_orders,
                unauthenticated=unauthenticated,
            ),
            limiter=limits.limiter,
            shares=limits.shares,
            budgets=limits.budgets,
            wal=base.wal,
            shutdown=base.shutdown,
            metrics=base.metrics,
        ),
        publisher=ResultPublisher(
            Committer(
                base.claims,
                config=base.config,
                wal=base.wal,
                recovered=recovered,
                settlement=settlement,
                unauthenticated=unauthenticated,
                metrics=base.metrics,
            ),
            wal=base.wal,
            recovered=recovered,
            owner=base.owner,
        ),
        returner=JobReturner(
            base.claims,
            wal=base.wal,
            lanes=base.lanes,
            settlement=settlement,
            shutdown=base.shutdown,
            metrics=base.metrics,
        ),
    )


def _claim_loop(base: _Foundation, limits: _Limits, pipeline: Pipeline) -> ClaimLoop:
    held = HeldShards(base.claims, pipeline.publisher)
    return ClaimLoop(
        base.config,
        ready=base.ready_tenants,
        planner=ClaimPlanner(
            base.config.service.worker,
            ready=base.ready_tenants,
            lanes=base.lanes,
            limiter=limits.limiter,
            shares=limits.shares,
            held=held,
        ),
        claimer=Claimer(
            base.claims,
            pipeline=pipeline,
            ready=base.ready_tenants,
            limiter=limits.limiter,
            jobs=base.jobs,
            held=held,
            metrics=base.metrics,
        ),
        wal=base.wal,
        shutdown=base.shutdown,
    )


def _syncs(base: _Foundation, readiness: Readiness) -> _Syncs:
    redis, config, metrics = base.redis, base.config, base.metrics
    return _Syncs(
        stop_orders=StopOrderSync(
            redis, config, orders=base.stop_orders, lanes=base.lanes, owner=base.owner, metrics=metrics
        ),
        refused_pins=RefusedPinSync(redis, config, refused_pins=base.refused_pins, metrics=metrics),
        directories=DirectoryPublisher(redis, config, lanes=base.lanes, metrics=metrics),
        caps=BacklogCapsPublisher(redis, config, metrics),
        registration=Registration(
            redis,
            config,
            owner=base.owner,
            condition=readiness,
            lanes=base.lanes,
            jobs=base.jobs,
            metrics=metrics,
        ),
    )


def _reloader(
    base: _Foundation, syncs: _Syncs, pid_lock: PidLock, files: ConfigurationFiles | None
) -> Reloader:
    return Reloader(
        files or ConfigurationFiles(base.config.service.file),
        base.config,
        lanes=base.lanes,
        listeners=(syncs.stop_orders, syncs.directories, syncs.caps, base.ready_tenants),
        pid_lock=pid_lock,
        metrics=base.metrics,
    )


def _background(
    base: _Foundation, limits: _Limits, pipeline: Pipeline, syncs: _Syncs, reloader: Reloader
) -> tuple[BackgroundTask, ...]:
    canaries = CanaryProber(
        base.config, lanes=base.lanes, stop_orders=base.stop_orders, wal=base.wal, metrics=base.metrics
    )
    return (
        pipeline.publisher,
        pipeline.returner,
        limits.budgets,
        syncs.stop_orders,
        syncs.refused_pins,
        syncs.directories,
        syncs.caps,
        syncs.registration,
        HindrancePublisher(base.redis, lanes=base.lanes, metrics=base.metrics),
        reloader,
        canaries,
        LogRetention(base.config, base.wal),
        *_record(base),
        ClockWatch(base.redis, base.metrics),
    )


def _record(base: _Foundation) -> tuple[BackgroundTask, ...]:
    """Parts that are there only with a record."""
    settings = base.config.service.record
    if not settings.enabled:
        return ()
    child = (SealerProcess(base.config, base.metrics),) if settings.process == "child" else ()
    return (RecordMonitor(base.config, base.metrics), StatementSigner(base.config, base.lanes), *child)


def _lease_keeper(base: _Foundation, heartbeat: Heartbeat) -> LeaseKeeper:
    service = base.config.service
    return LeaseKeeper(
        service.redis,
        owner=base.owner,
        lease_s=service.worker.lease_s,
        jobs=base.jobs,
        heartbeat=heartbeat,
        metrics=base.metrics,
    )


def _export_gauges(base: _Foundation) -> None:
    """Gauges that prometheus_client reads when it is scraped."""
    metrics, jobs, wal = base.metrics, base.jobs, base.wal
    metrics.tenants.set(len(base.config.tenants))
    metrics.in_flight.set_function(lambda: len(jobs))
    metrics.log_failing.set_function(lambda: wal.failing)
    metrics.log_lag_seconds.set_function(lambda: wal.lag_s)
    metrics.log_damage.set_function(lambda: wal.damaged)
    metrics.log_bytes.set_function(lambda: wal.bytes)
