"""Publishes the backlog caps of tenants to Redis, where the submit script enforces them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.aio.events import wait_for
from queueing.coordination.backlog_caps import publish_caps
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.caps")

RENEWAL_S: Final = 10.0
"""Longest time that a Redis which lost the caps is without them; the claim script enforces the limits meanwhile."""


class BacklogCapsPublisher:
    """Publishes all caps at the start, after each reload, and every ``RENEWAL_S`` seconds."""

    def __init__(self, redis: Redis, config: CurrentConfig, metrics: Metrics) -> None:
        self._redis = redis
        self._config = config
        self._metrics = metrics
        self._changed = asyncio.Event()

    def configuration_changed(self, changed: Sequence[str]) -> None:
        """Publish now: a reload changed these tenants, or removed others."""
        del changed  # all caps are published in one round trip
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled; a failure is logged, and retried with the next renewal."""
        while True:
            self._changed.clear()
            caps = {name: tenant.limits.caps for name, tenant in self._config.tenants.items()}
            try:
                await publish_caps(self._redis, caps)
            except QueueUnavailable as error:
                self._metrics.redis_errors.labels("caps").inc()
                log.warning("redis.failed", extra={"operation": "caps", "why": str(error)})
            await wait_for(self._changed, RENEWAL_S)
