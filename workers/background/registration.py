"""Registration of this worker in Redis, renewed every few seconds (``queueing.coordination.worker_registry``)."""

from __future__ import annotations

import asyncio
import logging
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from queueing.coordination import worker_registry
from queueing.coordination.worker_registry import INTERVAL_S, MOST_NAMED, WorkerInfo
from queueing.errors import QueueUnavailable
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.active_jobs import ActiveJobs
    from workers.current_config import CurrentConfig
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.limits.log_shares import LogShares
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")


class WorkerCondition(Protocol):
    """Condition of the worker as a whole (``workers.readiness.Readiness``)."""

    @property
    def ready(self) -> bool:
        """Whether it can claim and sign."""

    @property
    def draining(self) -> bool:
        """Whether it is shutting down."""


class Registration:
    """Renews the entry of this worker; errors of Redis are logged and retried."""

    def __init__(  # noqa: PLR0913 - the parts that it reports about
        self,
        redis: Redis,
        config: CurrentConfig,
        *,
        owner: str,
        condition: WorkerCondition,
        lanes: LaneRegistry,
        jobs: ActiveJobs,
        log_shares: LogShares,
        metrics: Metrics,
    ) -> None:
        self._redis = redis
        self._config = config
        self._owner = owner
        self._condition = condition
        self._lanes = lanes
        self._jobs = jobs
        self._log_shares = log_shares
        self._metrics = metrics
        self._since_ms = unix_ms()
        self._host = os.uname().nodename
        self._version = version("sigmill")

    async def run(self) -> None:
        """Register at once and every ``INTERVAL_S`` seconds, until cancelled."""
        while True:
            try:
                await worker_registry.register(self._redis, self.worker_info())
            except QueueUnavailable as error:
                self._metrics.redis_errors.labels("announce").inc()
                log.warning("redis.failed", extra={"operation": "announce", "why": str(error)})
            await asyncio.sleep(INTERVAL_S)

    async def remove(self) -> None:
        """Remove the entry: this worker shut down cleanly. Raises ``QueueUnavailable``."""
        await worker_registry.deregister(self._redis, self._owner)

    def worker_info(self) -> WorkerInfo:
        """The entry as it is now."""
        configuration = self._config.configuration
        state = self._lanes.state()
        where = configuration.service.metrics
        return WorkerInfo(
            owner=self._owner,
            host=self._host,
            pid=os.getpid(),
            version=self._version,
            since_ms=self._since_ms,
            epoch=configuration.service.epoch,
            tenants=len(configuration.tenants),
            ready=self._condition.ready,
            draining=self._condition.draining,
            jobs_in_flight=len(self._jobs),
            lanes=state.lanes,
            sessions=state.sessions,
            circuits_open=state.circuits_open[:MOST_NAMED],
            drained=state.drained[:MOST_NAMED],
            metrics=where.address,
            log_paused=tuple(sorted(self._log_shares.paused)[:MOST_NAMED]),
        )
