"""Signing service of one worker process: starts, runs, drains, reloads.

``workers.composition.service.build_service`` makes the parts and connects them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.owned_tasks import end_tasks
from queueing.broker import doorbell
from queueing.ed25519 import load_libsodium
from queueing.errors import QueueUnavailable, SigningError
from queueing.unix_time import unix_ms
from workers.lifecycle.shutdown import CLAIM_GRACE_S
from workers.lifecycle.startup_recovery import recover_journal

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.active_jobs import ActiveJobs
    from workers.background.record.head_publisher import HeadPublisher
    from workers.background.record.sealer_process import SealerProcess
    from workers.background.refused_pin_sync import RefusedPinSync
    from workers.background.registration import Registration
    from workers.background.stop_order_sync import StopOrderSync
    from workers.current_config import CurrentConfig
    from workers.intake.claim_loop import ClaimLoop
    from workers.intake.ready_tenants import ReadyTenants
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lifecycle.heartbeat import Heartbeat
    from workers.lifecycle.reload import Reloader
    from workers.lifecycle.shutdown import ShutdownDeadline
    from workers.limits.grant_budgets import GrantBudgets
    from workers.limits.key_budgets import KeyBudgets
    from workers.pipeline.lease_keeper import LeaseKeeper
    from workers.pipeline.result_publisher import ResultPublisher
    from workers.readiness import Readiness
    from workers.state.directory import StateDirectory
    from workers.state.running_workers import PidLock
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

TICK_S: Final = 0.5
"""Time between two checks of the lanes' deadlines and of idle tenants."""


class BackgroundTask(Protocol):
    """Part of the service that runs concurrently with the claim loop."""

    async def run(self) -> None:
        """Run until cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """Parts of one service. ``background``: those that only run; ``doorbells``: connection for the subscription."""

    config: CurrentConfig
    owner: str
    doorbells: Redis
    metrics: Metrics
    heartbeat: Heartbeat
    shutdown: ShutdownDeadline
    readiness: Readiness
    state: StateDirectory
    pid_lock: PidLock
    wal: WriteAheadLog
    jobs: ActiveJobs
    ready_tenants: ReadyTenants
    claim_loop: ClaimLoop
    lanes: LaneRegistry
    publisher: ResultPublisher
    leases: LeaseKeeper
    budgets: KeyBudgets
    grants: GrantBudgets
    stop_orders: StopOrderSync
    refused_pins: RefusedPinSync
    registration: Registration
    reloader: Reloader
    sealer: SealerProcess | None
    heads: HeadPublisher | None
    background: tuple[BackgroundTask, ...]


class SigningService:
    """Claims, signs and publishes for every tenant of the configuration. One per process."""

    def __init__(self, parts: ServiceParts) -> None:
        self._parts = parts
        self.heartbeat = parts.heartbeat

    @property
    def alive(self) -> bool:
        """Whether the event loop runs; from any thread."""
        return self.heartbeat.alive

    @property
    def ready(self) -> bool:
        """Whether this process can claim and sign (``workers/readiness.py``); no I/O, from any thread."""
        return self._parts.readiness.ready

    @property
    def drain_s(self) -> float:
        """Longest time from the first SIGTERM to the end of the process, in seconds; a reload does not change it."""
        return self._parts.shutdown.drain_s

    @property
    def draining(self) -> bool:
        """Whether it is shutting down."""
        return self._parts.readiness.draining

    def open(self) -> None:
        """Take the state directory and apply its stop orders; ``ConfigError`` where either is impossible.

        A worker that cannot list its stop orders does not start: it would sign for tenants that they stop.
        """
        self._parts.state.own()
        self._parts.stop_orders.start()

    async def run(self) -> None:
        """Serve until drained; after ``open``. No error of Redis, of the log or of a lane ends it."""
        p = self._parts
        load_libsodium()
        p.heartbeat.start()
        self._lock_pid()
        p.publisher.add_recovered(await recover_journal(p.state.log_folder, p.wal, stop=p.shutdown.asked))
        if self.draining:
            await self._close()  # the log is perhaps not recovered: nothing may be claimed
            return
        await p.grants.recover(p.state.log_folder, unix_ms())
        p.leases.start()
        await p.refused_pins.sync_at_start()
        async with asyncio.TaskGroup() as tasks:
            p.readiness.started = True
            p.lanes.start(tasks)
            background = [tasks.create_task(part.run()) for part in p.background]
            background += [tasks.create_task(self._listen()), tasks.create_task(self._tick())]
            log.info("service.started", extra={"owner": p.owner, "tenants": len(p.config.tenants)})
            await self._claim_until_shutdown(tasks.create_task(p.claim_loop.run()))
            await self._finish_jobs()
            await end_tasks(background)
            with contextlib.suppress(TimeoutError, QueueUnavailable):
                async with asyncio.timeout(p.shutdown.to_close_s):
                    await p.budgets.return_unused()
                    await p.grants.share()
                    await p.registration.remove()
            await p.lanes.close(p.shutdown.to_close_s)
        p.leases.stop()
        await self._close()

    def drain(self) -> None:
        """Begin the shutdown: claim nothing more, return jobs that no lane has, finish the others.

        ``run`` returns within ``drain_s``.
        """
        p = self._parts
        if not self.draining:
            log.info("service.draining", extra={"in_work": len(p.jobs)})
        p.shutdown.ask()
        p.ready_tenants.wake()
        p.lanes.return_waiting()

    def reload(self) -> None:
        """Request a reload of the configuration; its result is logged, counted and reported."""
        self._parts.reloader.ask()

    async def _claim_until_shutdown(self, claiming: asyncio.Task[None]) -> None:
        """Let the claim loop run until the shutdown, then wait for a claim under way: its jobs are requeued."""
        shutdown = self._parts.shutdown
        await shutdown.asked.wait()
        await asyncio.wait({claiming}, timeout=min(CLAIM_GRACE_S, shutdown.to_finish_s))
        await end_tasks([claiming])

    async def _finish_jobs(self) -> None:
        """Finish and publish the jobs that are in the HSM; return the unfinished ones as perhaps signed, at the deadline."""
        p = self._parts
        p.lanes.return_waiting()
        if await p.jobs.until_empty(p.shutdown.to_finish_s):
            return
        log.warning("service.drain_deadline", extra={"left": len(p.jobs)})
        p.lanes.kill()
        await p.jobs.until_empty(p.shutdown.to_return_s)

    async def _close(self) -> None:
        """Close the log, have the sealer seal it, publish its heads; an error of one step leaves out none of the others."""
        p = self._parts
        try:
            await self._close_log()
            if p.sealer is not None:
                await p.sealer.close(p.shutdown.to_close_s)
            if p.heads is not None:
                await p.heads.close(p.shutdown.to_close_s)
        finally:
            p.pid_lock.remove()
            p.state.release()
            p.heartbeat.stop()
        log.info("service.stopped", extra={"owner": p.owner})

    async def _close_log(self) -> None:
        """Close the write-ahead log; one that hangs or fails is recovered at the next start."""
        p = self._parts
        try:
            async with asyncio.timeout(p.shutdown.to_close_s):
                await p.wal.close()
        except (SigningError, OSError) as error:  # TimeoutError is one of them
            log.warning("log.not_closed", extra={"why": str(error) or "it took too long"})

    def _lock_pid(self) -> None:
        """Let ``tenants reload`` find this process; the service runs without, too."""
        try:
            self._parts.pid_lock.set()
        except OSError as error:
            log.error("service.not_marked", extra={"why": str(error)})

    async def _listen(self) -> None:
        """Subscribe to doorbells and stop orders, for ever."""
        p = self._parts
        tenants = p.ready_tenants
        await doorbell.listen(p.doorbells, tenants.ring, tenants.ring_all, order=p.stop_orders.offer)

    async def _tick(self) -> None:
        p = self._parts
        while True:
            p.metrics.ready.set(p.readiness.ready)
            p.metrics.grants_uncounted.set(p.grants.uncounted)
            p.lanes.tick()
            p.lanes.forget_idle(p.jobs.tenants())
            await asyncio.sleep(TICK_S)
