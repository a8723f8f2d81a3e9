"""Publishes which tenants this worker signs nothing for, and why, for their clients that wait."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

from queueing.broker import hindrances
from queueing.broker.hindrance_values import MOST_NAMED, Hindrance
from queueing.errors import QueueUnavailable
from workers.lanes.supervisor.circuit_breaker import Circuit

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.limits.log_shares import LogShares
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

INTERVAL_S: Final = 5.0


class HindrancePublisher:
    """Publishes them while they last; costs nothing while every tenant can be signed for."""

    def __init__(self, redis: Redis, *, lanes: LaneRegistry, log_shares: LogShares, metrics: Metrics) -> None:
        self._redis = redis
        self._lanes = lanes
        self._log_shares = log_shares
        self._metrics = metrics
        self._host = os.uname().nodename

    async def run(self) -> None:
        """Publish every ``INTERVAL_S`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.publish()

    async def publish(self) -> None:
        """Publish those of now, if there are any."""
        pools, paused = self._lanes.unusable(), self._log_shares.paused
        found = {
            tenant: self._hindrance(pools.get(tenant, []), log_share_used=tenant in paused)
            for tenant in pools.keys() | paused
        }
        if not found:
            return
        try:
            await hindrances.publish(self._redis, found)
        except QueueUnavailable as error:
            self._metrics.redis_errors.labels("announce").inc()
            log.warning("redis.failed", extra={"operation": "announce", "why": str(error)})

    def _hindrance(self, pools: list[TokenPool], *, log_share_used: bool) -> Hindrance:
        drained = [pool.token for pool in pools if pool.drained]
        others = {pool.token: pool.status.circuit for pool in pools if not pool.drained}
        refused = [token for token, circuit in others.items() if circuit is Circuit.REFUSED]
        return Hindrance(
            host=self._host,
            refused_pins=tuple(refused[:MOST_NAMED]),
            drained=tuple(drained[:MOST_NAMED]),
            failing=tuple([token for token in others if token not in refused][:MOST_NAMED]),
            log_share_used=log_share_used,
        )
