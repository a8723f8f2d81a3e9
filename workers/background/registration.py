"""What this worker says of itself every few seconds (``queueing.coordination.worker_registry``)."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from queueing.coordination.worker_registry import INTERVAL_S, MOST_NAMED, WorkerInfo
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from workers.config.loading import Configuration
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")


class WorkerCondition(Protocol):
    """What only the service knows."""

    @property
    def ready(self) -> bool:
        """Whether it can claim and sign."""

    @property
    def draining(self) -> bool:
        """Whether it was asked to end."""


class Registration:
    """Speaks until cancelled, whatever Redis says."""

    def __init__(
        self,
        announce: Callable[[WorkerInfo], Awaitable[None]],
        *,
        owner: str,
        configuration: Callable[[], Configuration],
        vitals: WorkerCondition,
        roster: LaneRegistry,
        in_flight: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._announce = announce
        self._owner = owner
        self._configuration = configuration
        self._vitals = vitals
        self._roster = roster
        self._in_flight = in_flight
        self._metrics = metrics
        self._since_ms = time.time_ns() // 1_000_000
        self._host = os.uname().nodename
        self._version = version("sigmill")

    async def run(self) -> None:
        """At once, and every ``INTERVAL_S`` from then on."""
        while True:
            try:
                await self._announce(self.say())
            except QueueUnavailable as error:
                self._metrics.redis_errors.labels("announce").inc()
                log.warning("redis.failed", extra={"operation": "announce", "why": str(error)})
            await asyncio.sleep(INTERVAL_S)

    def say(self) -> WorkerInfo:
        """What is true now."""
        configuration = self._configuration()
        state = self._roster.state()
        where = configuration.service.metrics
        return WorkerInfo(
            owner=self._owner,
            host=self._host,
            pid=os.getpid(),
            version=self._version,
            since_ms=self._since_ms,
            epoch=configuration.service.epoch,
            tenants=len(configuration.tenants),
            ready=self._vitals.ready,
            draining=self._vitals.draining,
            jobs_in_flight=self._in_flight(),
            lanes=state.lanes,
            sessions=state.sessions,
            circuits_open=state.circuits_open[:MOST_NAMED],
            drained=state.drained[:MOST_NAMED],
            metrics=where.address,
        )
