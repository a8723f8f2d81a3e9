"""Composition of the parts that run in the background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.background.backlog_caps_publisher import BacklogCapsPublisher
from workers.background.canary_prober import CanaryProber
from workers.background.clock_watch import ClockWatch
from workers.background.directory_publisher import DirectoryPublisher
from workers.background.event_collector import EventCollector
from workers.background.hindrance_publisher import HindrancePublisher
from workers.background.log_retention import LogRetention, RecordRetention
from workers.background.record.head_publisher import HeadPublisher
from workers.background.record.lost_records import LostRecordWatch
from workers.background.record.origin_check import OriginCheck
from workers.background.record.receipt_publisher import ReceiptPublisher
from workers.background.record.record_monitor import RecordMonitor
from workers.background.record.sealer_process import SealerProcess
from workers.background.record.statement_signer import StatementSigner
from workers.background.refused_pin_sync import RefusedPinSync
from workers.background.registration import Registration
from workers.background.stop_order_sync import StopOrderSync
from workers.config.snapshots import ConfigurationFiles
from workers.lifecycle.log_scrubber import LogScrubber
from workers.lifecycle.reload import Reloader
from workers.pipeline.dispatcher import Pipeline
from workers.readiness import Readiness
from workers.state.running_workers import PidLock

if TYPE_CHECKING:
    from workers.composition.foundation import Foundation, Limits
    from workers.service import BackgroundTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Syncs:
    """Parts that exchange state with Redis in the background."""

    stop_orders: StopOrderSync
    refused_pins: RefusedPinSync
    directories: DirectoryPublisher
    caps: BacklogCapsPublisher
    registration: Registration


def make_syncs(base: Foundation, readiness: Readiness) -> Syncs:
    """Parts that exchange state with Redis."""
    redis, config, metrics = base.redis, base.config, base.metrics
    return Syncs(
        stop_orders=StopOrderSync(
            redis,
            config,
            orders=base.stop_orders,
            lanes=base.lanes,
            owner=base.owner,
            wal=base.wal,
            metrics=metrics,
        ),
        refused_pins=RefusedPinSync(redis, config, refused_pins=base.refused_pins, metrics=metrics),
        directories=DirectoryPublisher(
            redis,
            config,
            lanes=base.lanes,
            wal=base.wal,
            epochs=base.published_epochs,
            metrics=metrics,
        ),
        caps=BacklogCapsPublisher(redis, config, metrics),
        registration=Registration(
            redis,
            config,
            owner=base.owner,
            condition=readiness,
            lanes=base.lanes,
            jobs=base.jobs,
            log_shares=base.log_shares,
            metrics=metrics,
        ),
    )


def make_reloader(
    base: Foundation, syncs: Syncs, pid_lock: PidLock, files: ConfigurationFiles | None
) -> Reloader:
    """Reload of the configuration; those who listen to it are told in this order."""
    return Reloader(
        files or ConfigurationFiles(base.config.service.file),
        base.config,
        lanes=base.lanes,
        listeners=(syncs.stop_orders, syncs.directories, syncs.caps, base.ready_tenants),
        pid_lock=pid_lock,
        metrics=base.metrics,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordParts:
    """Parts that are there only with a record. ``sealer``: None where the host starts it, not the worker."""

    sealer: SealerProcess | None
    heads: HeadPublisher
    others: tuple[BackgroundTask, ...]

    @property
    def tasks(self) -> tuple[BackgroundTask, ...]:
        """All of them, to be run."""
        return (*self.others, self.heads, *(() if self.sealer is None else (self.sealer,)))


def make_record(base: Foundation) -> RecordParts | None:
    """Parts of the record, where there is one."""
    settings = base.config.service.record
    if not settings.enabled:
        return None
    origins = OriginCheck(base.redis, base.config, base.wal, base.metrics)
    return RecordParts(
        sealer=SealerProcess(base.config, base.metrics) if settings.process == "child" else None,
        heads=HeadPublisher(base.redis, base.config, origins, base.metrics),
        others=(
            RecordMonitor(base.config, base.metrics),
            RecordRetention(base.config),
            StatementSigner(base.config, base.lanes, origins),
            ReceiptPublisher(base.redis, base.config, base.metrics),
            LostRecordWatch(base.redis, base.config, base.metrics),
        ),
    )


def background_tasks(
    base: Foundation,
    limits: Limits,
    pipeline: Pipeline,
    syncs: Syncs,
    reloader: Reloader,
    record: RecordParts | None,
) -> tuple[BackgroundTask, ...]:
    """All parts that the service runs beside the claim loop."""
    canaries = CanaryProber(
        base.config, lanes=base.lanes, stop_orders=base.stop_orders, wal=base.wal, metrics=base.metrics
    )
    return (
        pipeline.review,
        pipeline.publisher,
        pipeline.returner,
        pipeline.unauthenticated,
        pipeline.forgeries,
        limits.budgets,
        base.log_shares,
        limits.grants,
        syncs.stop_orders,
        syncs.refused_pins,
        syncs.directories,
        syncs.caps,
        syncs.registration,
        HindrancePublisher(base.redis, lanes=base.lanes, log_shares=base.log_shares, metrics=base.metrics),
        reloader,
        canaries,
        LogRetention(base.config, base.wal),
        LogScrubber(base.config, base.wal, base.metrics),
        EventCollector(base.config, base.wal),
        base.lane_records,
        *(() if record is None else record.tasks),
        ClockWatch(base.redis, base.metrics),
    )
