"""Caps of tenants, published where the submit script reads them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from queueing.protocol.limits import PublishedCaps
    from workers.config.tenants import Tenant
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.caps")

RENEWAL_S: Final = 10.0
"""How long a Redis that lost them goes without; the claim enforces the limits meanwhile."""


class CapsPublisher:
    """Publishes all caps at the start, when the configuration changes, and every ten seconds."""

    def __init__(
        self,
        publish: Callable[[Mapping[str, PublishedCaps]], Awaitable[None]],
        tenants: Callable[[], dict[str, Tenant]],
        metrics: Metrics,
    ) -> None:
        self._publish = publish
        self._tenants = tenants
        self._metrics = metrics
        self._changed = asyncio.Event()

    def again(self) -> None:
        """The configuration has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled; failures are tried again."""
        while True:
            self._changed.clear()
            caps = {name: tenant.limits.caps for name, tenant in self._tenants().items()}
            try:
                await self._publish(caps)
            except QueueUnavailable as error:
                self._metrics.redis_errors.labels("caps").inc()
                log.warning("redis.failed", extra={"operation": "caps", "why": str(error)})
            try:
                async with asyncio.timeout(RENEWAL_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
