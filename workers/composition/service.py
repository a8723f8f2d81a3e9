"""Composition of the signing service from its groups of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.composition.background import background_tasks, make_record, make_reloader, make_syncs
from workers.composition.foundation import export_gauges, make_foundation, make_limits
from workers.composition.processing import make_claim_loop, make_lease_keeper, make_pipeline
from workers.config.snapshots import ConfigurationFiles
from workers.current_config import CurrentConfig
from workers.lifecycle.heartbeat import Heartbeat
from workers.readiness import Readiness
from workers.service import ServiceParts, SigningService
from workers.state.running_workers import PidLock
from workers.telemetry.json_logs import set_levels

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.config.loading import Configuration
    from workers.telemetry.metrics import Metrics


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
    base = make_foundation(CurrentConfig(configuration), redis, metrics)
    limits = make_limits(base)
    pipeline = make_pipeline(base, limits)
    claim_loop = make_claim_loop(base, limits, pipeline)
    heartbeat = Heartbeat(metrics)
    readiness = Readiness(
        heartbeat=heartbeat,
        shutdown=base.shutdown,
        claim_loop=claim_loop,
        publisher=pipeline.publisher,
        wal=base.wal,
        lanes=base.lanes,
    )
    syncs = make_syncs(base, readiness)
    record = make_record(base)
    pid_lock = PidLock(base.config.service.state_dir)
    reloader = make_reloader(base, syncs, pid_lock, files)
    set_levels(configuration.service.logging.level, jobs=configuration.service.logging.jobs)
    export_gauges(base)
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
            leases=make_lease_keeper(base, heartbeat),
            budgets=limits.budgets,
            grants=limits.grants,
            stop_orders=syncs.stop_orders,
            refused_pins=syncs.refused_pins,
            registration=syncs.registration,
            reloader=reloader,
            sealer=None if record is None else record.sealer,
            heads=None if record is None else record.heads,
            background=background_tasks(base, limits, pipeline, syncs, reloader, record),
        )
    )
