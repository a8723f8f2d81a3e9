"""A PIN that was refused on one host is not tried on the others: three hosts with one wrong PIN would lock the token.

Lanes hold the PINs and have no Redis; the worker has Redis and knows no PIN. So lanes leave what they know in the state
directory, the worker passes it on, and leaves there what others know.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.coordination import refused_pin_feed as pin_warnings
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from redis.asyncio import Redis

    from workers.state.refused_pins import RefusedPins
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.pins")

EVERY_S: Final = 1.0
FIRST_S: Final = 2.0
"""How long a start waits for what others know, before its lanes may try a PIN."""


class RefusedPinSync:
    """Tells and hears, for the tokens of this host."""

    def __init__(
        self, redis: Redis, memory: RefusedPins, *, tokens: Callable[[], Collection[str]], metrics: Metrics
    ) -> None:
        self._redis = redis
        self._memory = memory
        self._tokens = tokens
        self._metrics = metrics
        self._heard: frozenset[str] = frozenset()

    async def first(self) -> None:
        """Hear what there is before any lane starts; Redis may be away."""
        try:
            async with asyncio.timeout(FIRST_S):
                await self._exchange()
        except TimeoutError:
            log.warning("pins.not_heard", extra={"why": "Redis does not answer"})

    async def run(self) -> None:
        """Once a second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self._exchange()

    async def _exchange(self) -> None:
        try:
            heard = await pin_warnings.sync(self._redis, self._memory.to_tell())
            ours = {token: warning for token, warning in heard.items() if token in self._tokens()}
            self._memory.hear(ours)
        except QueueUnavailable as error:
            self._metrics.redis_errors.labels("pins").inc()
            log.debug("redis.failed", extra={"operation": "pins", "why": str(error)})
        except OSError as error:
            log.error("pins.not_noted", extra={"why": str(error)})  # lanes refuse to try PINs then, too
        else:
            for token in ours.keys() - self._heard:
                log.warning("pins.heard", extra={"token": token})
            self._heard = frozenset(ours)
