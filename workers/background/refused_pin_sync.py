"""Synchronises refused PINs between hosts: three hosts that try the same wrong PIN would lock the token.

Lanes hold the PINs and have no Redis; the worker has Redis and knows no PIN. So lanes store fingerprints of refused
PINs in the state directory (``workers/state/refused_pins.py``), and the worker exchanges them with other hosts through one hash in
Redis (``queueing/coordination/refused_pin_feed.py``, which ``sigmill tokens resume`` clears too).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.coordination import refused_pin_feed
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.current_config import CurrentConfig
    from workers.state.refused_pins import RefusedPins
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.pins")

SYNC_S: Final = 1.0
"""Time between two exchanges."""

FIRST_SYNC_S: Final = 2.0
"""Longest wait for other hosts' refused PINs at the start, before lanes may try a PIN."""


class RefusedPinSync:
    """Exchanges refused PINs, for the tokens of this host."""

    def __init__(
        self, redis: Redis, config: CurrentConfig, *, refused_pins: RefusedPins, metrics: Metrics
    ) -> None:
        self._redis = redis
        self._config = config
        self._refused_pins = refused_pins
        self._metrics = metrics
        self._received: frozenset[str] = frozenset()

    async def sync_at_start(self) -> None:
        """Sync once before any lane starts; an unavailable Redis delays the start by ``FIRST_SYNC_S`` at most."""
        try:
            async with asyncio.timeout(FIRST_SYNC_S):
                await self._sync()
        except TimeoutError:
            log.warning("pins.not_heard", extra={"why": "Redis does not answer"})

    async def run(self) -> None:
        """Sync every ``SYNC_S`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(SYNC_S)
            await self._sync()

    async def _sync(self) -> None:
        try:
            received = await refused_pin_feed.sync(self._redis, self._refused_pins.to_report())
            tokens = self._config.service.tokens
            ours = {token: warning for token, warning in received.items() if token in tokens}
            self._refused_pins.replace_reported(ours)
        except QueueUnavailable as error:
            self._metrics.redis_errors.labels("pins").inc()
            log.debug("redis.failed", extra={"operation": "pins", "why": str(error)})
        except OSError as error:
            log.error("pins.not_noted", extra={"why": str(error)})  # lanes do not try PINs then either
        else:
            for token in ours.keys() - self._received:
                log.warning("pins.heard", extra={"token": token})
            self._received = frozenset(ours)
