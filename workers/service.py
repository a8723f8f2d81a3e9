"""The signing service of one worker process: what it is made of, and how it starts, drains and ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, Final

from queueing.aio.owned_tasks import end_tasks
from queueing.broker import doorbell as doorbells
from queueing.broker.claims import Claims, Retention
from queueing.coordination import worker_registry as presence
from queueing.coordination.publication import publish_caps
from queueing.errors import QueueUnavailable
from workers.background.canary_prober import CanaryProber
from workers.background.caps_publisher import CapsPublisher
from workers.background.directory_publisher import DirectoryPublisher
from workers.background.refused_pin_sync import RefusedPinSync
from workers.background.registration import Registration
from workers.background.stop_order_sync import StopOrderSync
from workers.config.snapshots import ConfigurationFiles
from workers.intake.claim_loop import ClaimLoop
from workers.journal.journal import WriteAheadLog
from workers.lanes.supervisor.registry import LaneRegistry
from workers.lifecycle.heartbeat import Heartbeat
from workers.lifecycle.reload import Reloader
from workers.lifecycle.shutdown import CLAIM_GRACE_S, ShutdownDeadline
from workers.lifecycle.startup_recovery import recover_journal
from workers.limits.fair_queueing import FairShares
from workers.limits.key_budgets import KeyBudgets
from workers.limits.tenant_limiter import TenantLimiter
from workers.pipeline.dispatcher import Dispatcher
from workers.pipeline.lease_keeper import LeaseKeeper
from workers.pipeline.result_publisher import Releaser
from workers.pipeline.router import Router
from workers.state.directory import StateDirectory
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.state.running_workers import PidLock
from workers.telemetry.json_logs import set_levels

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from queueing.broker.claims import ClaimedJob
    from workers.active_job import ActiveJob
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

TICK_S: Final = 0.5

TIDY_S: Final = 3600.0
"""Between looks for segments whose time is over."""


class SigningService:
    """Claims, signs and publishes for every tenant of the configuration. One per process."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        redis: Redis,
        bells: Redis,
        metrics: Metrics,
        files: ConfigurationFiles | None = None,
    ) -> None:
        self._configuration = configuration
        self._service = (
            configuration.service
        )  # what it says of [redis], [worker] and [metrics] stays until the end
        settings = self._service.worker
        self._redis = redis
        self._bells = bells
        self._metrics = metrics
        self._owner = f"{os.uname().nodename}.{os.getpid()}.{secrets.token_hex(4)}"
        self._claims = Claims(
            redis,
            owner=self._owner,
            lease_ms=int(settings.lease_s * 1000),
            wait=self._service.redis.replica_wait(),
        )
        self.heartbeat = Heartbeat(metrics.event_loop_lag_seconds.set)
        self._drain = ShutdownDeadline(settings.drain_s)
        self._state = StateDirectory(self._service)
        self._wal = WriteAheadLog(self._state.log_folder, synced=metrics.log_sync_seconds.observe)
        self._releaser = Releaser(
            claims=self._claims,
            wal=self._wal,
            retention=Retention(result_ms=int(settings.result_retention_s * 1000)),
            metrics=metrics,
            settled=self._settled,
            draining=lambda: self.draining,
            class_of=self._class_of,
            can_sign=self._can_sign,
            owner=self._owner,
        )
        self._budgets = KeyBudgets(redis)
        self._orders = StopOrderSync(
            redis=redis,
            service=lambda: self._configuration.service,
            obey=self._obey,
            obeyed=self._obeyed,
            owner=self._owner,
            metrics=metrics,
        )
        refused_pins = RefusedPins(self._service.state_dir)
        self._pins = RefusedPinSync(
            redis, refused_pins, tokens=lambda: self._configuration.service.tokens, metrics=metrics
        )
        self._roster = LaneRegistry(
            configuration,
            refused_pins=refused_pins,
            drained=DrainedTokens(self._service.state_dir),
            metrics=metrics,
            capacity_listener=self,
            stop_orders=self._orders,
        )
        allowances = TenantLimiter(self._tenants, metrics)
        shares = FairShares(allowances.weight)
        router = Router(
            tenants=self._tenants,
            lanes_of=self._roster.of,
            stops_of=self._orders.stops_of,
            allowances=allowances,
            audience=self._service.audience,
            most_crashes=settings.poison_attempts,
        )
        self._intake = ClaimLoop(
            tenants=self._tenants,
            room_of=self._roster.capacity_of,
            allowances=allowances,
            shares=shares,
            claims=self._claims,
            handover=Dispatcher(
                router,
                tenants=self._tenants,
                allowances=allowances,
                shares=shares,
                budgets=self._budgets,
                wal=self._wal,
                metrics=metrics,
                draining=lambda: self.draining,
            ),
            wal=self._wal,
            finished=self._finished,
            published_before=self._releaser.published_before,
            metrics=metrics,
            claim_jobs=settings.claim_jobs,
            suspect_at=max(settings.poison_attempts - 1, 1),
            slow_poll_s=settings.slow_poll_s,
            held=lambda: self._releaser.unconfirmed,
        )
        self._caps = CapsPublisher(partial(publish_caps, redis), self._tenants, metrics)
        self._directories = DirectoryPublisher(
            redis=redis,
            tenants=self._tenants,
            service_lanes=lambda: self._roster.service_lanes,
            metrics=metrics,
            ttl_s=settings.directory_ttl_s,
        )
        self._leases = LeaseKeeper(
            self._service.redis,
            owner=self._owner,
            lease_s=settings.lease_s,
            held=self._held,
            loop_seen_at=lambda: self.heartbeat.seen_at,
            metrics=metrics,
        )
        self._announcer = Registration(
            partial(presence.register, redis),
            owner=self._owner,
            configuration=lambda: self._configuration,
            vitals=self,
            roster=self._roster,
            in_flight=lambda: len(self._intake.in_work),
            metrics=metrics,
        )
        self._mark = PidLock(self._service.state_dir)
        self._reloader = Reloader(
            files or ConfigurationFiles(self._service.file),
            current=lambda: self._configuration,
            adopt=self._adopt,
            lanes_obey=self._roster.wait_reloaded,
            metrics=metrics,
            mark=self._mark,
        )
        self._canaries = CanaryProber(
            configuration=lambda: self._configuration,
            lanes=self._roster.all,
            stops_of=self._orders.stops_of,
            wal=self._wal,
            metrics=metrics,
            every_s=settings.canary_s,
        )
        set_levels(self._service.logging.level, jobs=self._service.logging.jobs)
        self._running = False
        metrics.tenants.set(len(configuration.tenants))
        metrics.in_flight.set_function(lambda: len(self._intake.in_work))
        metrics.log_failing.set_function(lambda: self._wal.failing)
        metrics.log_lag_seconds.set_function(lambda: self._wal.lag_s)
        metrics.log_bytes.set_function(lambda: self._wal.bytes)

    @property
    def ready(self) -> bool:
        """Whether this process can claim and at least one lane can sign; asks nobody, for any thread."""
        return (
            self._running
            and self.heartbeat.alive
            and not self._intake.draining
            and self._intake.redis_answers
            and not self._releaser.unconfirmed
            and not self._wal.failing
            and self._roster.healthy
        )

    @property
    def drain_s(self) -> float:
        """From the first SIGTERM to the end, at the latest."""
        return self._service.worker.drain_s

    @property
    def draining(self) -> bool:
        """Whether it was asked to end."""
        return self._intake.draining

    def open(self) -> None:
        """Take the state directory; ``ConfigError`` when another worker has it, or it cannot be used.

        A worker that cannot list its stop orders does not start: it would sign for whom they stop.
        """
        self._state.own()
        self._orders.start()

    async def run(self) -> None:
        """Serve until drained; after ``open``. No error of Redis, of the log or of a lane ends it."""
        self.heartbeat.start()
        self._set_mark()
        self._releaser.recovered(
            await recover_journal(self._state.log_folder, self._wal, stop=self._drain.asked)
        )
        if self.draining:
            await self._close()  # it knows too little of its log to touch it
            return
        self._leases.start()
        await self._pins.first()
        async with asyncio.TaskGroup() as tasks:
            self._running = True
            self._roster.start(tasks)
            background = [
                tasks.create_task(
                    doorbells.listen(
                        self._bells, self._ring, self._all_may_have_work, order=self._orders.offer
                    )
                ),
                tasks.create_task(self._releaser.run()),
                tasks.create_task(self._tick()),
                tasks.create_task(self._directories.run()),
                tasks.create_task(self._caps.run()),
                tasks.create_task(self._orders.run()),
                tasks.create_task(self._budgets.run()),
                tasks.create_task(self._pins.run()),
                tasks.create_task(self._reloader.run()),
                tasks.create_task(self._tidy_log()),
                tasks.create_task(self._canaries.run()),
                tasks.create_task(self._announcer.run()),
            ]
            log.info(
                "service.started", extra={"owner": self._owner, "tenants": len(self._configuration.tenants)}
            )
            await self._claim(tasks.create_task(self._intake.run()))
            await self._settle()
            await end_tasks(background)
            with contextlib.suppress(TimeoutError, QueueUnavailable):
                async with asyncio.timeout(self._drain.to_close_s):
                    await self._budgets.give_back()
                    await presence.deregister(self._redis, self._owner)
            await self._roster.close(self._drain.to_close_s)
        self._leases.stop()
        await self._close()

    async def _claim(self, claiming: asyncio.Task[None]) -> None:
        """Until asked to end, and a moment longer: what a claim under way brings is given back."""
        await self._drain.asked.wait()
        await asyncio.wait({claiming}, timeout=min(CLAIM_GRACE_S, self._drain.to_finish_s))
        await end_tasks([claiming])

    async def _settle(self) -> None:
        """What is in the HSM is finished and published; what is not in time goes back, as perhaps signed."""
        self._roster.return_waiting()
        if await self._intake.all_settled(self._drain.to_finish_s):
            return
        log.warning("service.drain_deadline", extra={"left": len(self._intake.in_work)})
        self._roster.kill()
        await self._intake.all_settled(self._drain.to_return_s)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(self._drain.to_close_s):
                await self._wal.close()
        except TimeoutError:
            log.warning("log.not_closed")
        self._mark.remove()
        self._state.give_up()
        self.heartbeat.stop()
        log.info("service.stopped", extra={"owner": self._owner})

    def _set_mark(self) -> None:
        try:
            self._mark.set()
        except OSError as error:
            log.error("service.not_marked", extra={"why": str(error)})  # `tenants reload` will not find it

    def drain(self) -> None:
        """Claim nothing more, return what no lane has, finish what is under way; then ``run`` returns, within ``drain_s``."""
        if not self.draining:
            log.info("service.draining", extra={"in_work": len(self._intake.in_work)})
        self._drain.ask()
        self._intake.drain()
        self._roster.return_waiting()

    def reload(self) -> None:
        """Read the configuration again, soon; how it went is logged, counted and reported."""
        self._reloader.ask()

    def _adopt(self, configuration: Configuration) -> None:
        before, self._configuration = self._configuration, configuration
        set_levels(configuration.service.logging.level, jobs=configuration.service.logging.jobs)
        self._roster.adopt(configuration)
        self._orders.configuration_changed()
        changed = [
            name for name, tenant in configuration.tenants.items() if tenant != before.tenants.get(name)
        ]
        self._directories.again(changed)
        self._caps.again()
        self._metrics.tenants.set(len(configuration.tenants))
        for tenant in changed:
            self._intake.ring(tenant)

    def _tenants(self) -> dict[str, Tenant]:
        return self._configuration.tenants

    def _class_of(self, name: str) -> str:
        tenant = self._configuration.tenants.get(name)
        return "standard" if tenant is None else tenant.tenant_class

    def _can_sign(self, tenant: str) -> bool:
        return self._roster.can_sign(tenant)

    def capacity_freed(self) -> None:
        """Lanes can take more: claim."""
        self._intake.capacity_freed()

    def _obey(self, tenant: str) -> None:
        self._roster.apply_stop_orders(tenant)

    def _obeyed(self, tenant: str) -> bool:
        return self._roster.stop_orders_applied(tenant)

    def _finished(self, job: ActiveJob) -> None:
        self._releaser.finished(job)

    def _settled(self, job: ActiveJob) -> None:
        self._budgets.settled(job)
        self._intake.settled(job)

    def _ring(self, tenant: str) -> None:
        """Anybody can ring for a tenant that is not ours."""
        if tenant in self._configuration.tenants:
            self._intake.ring(tenant)

    def _all_may_have_work(self) -> None:
        for tenant in self._configuration.tenants:
            self._intake.ring(tenant)

    def _held(self) -> list[ClaimedJob]:
        """What has to stay leased; also called by the lease keeper's thread: copying a set is one step under the GIL."""
        return [job.claimed for job in tuple(self._intake.in_work)]

    async def _tidy_log(self) -> None:
        keep_s = self._service.log.keep_days * 86400
        while True:
            try:
                await self._wal.tidy(keep_s)
            except OSError as error:
                log.warning("log.not_tidied", extra={"why": str(error)})
            await asyncio.sleep(TIDY_S)

    async def _tick(self) -> None:
        while True:
            self._metrics.ready.set(self.ready)
            self._roster.tick()
            self._roster.forget_idle({job.claimed.tenant for job in self._intake.in_work})
            await asyncio.sleep(TICK_S)
