"""Hearing doorbells: one pattern subscription, whatever the number of tenants."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.protocol import keyspace
from queueing.redis.errors import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

LONGEST_PAUSE_S: Final = 1.0
SILENCE_S: Final = 10.0
"""After so long without a bell the server is asked whether it is there; after as long again it is taken not to be."""


async def listen(
    redis: Redis,
    ring: Callable[[str], None],
    reconnected: Callable[[], None],
    *,
    order: Callable[[bytes], None] = lambda _: None,
) -> None:
    """Call ``ring(tenant)`` for each bell, for ever; ``reconnected`` when bells may have been missed.

    ``order`` gets each stop order that is announced, by whomever: nothing about it is verified. Errors of Redis are waited out. A bell that nobody hears costs a slow poll, not a job.
    """
    pause_s = 0.05
    while True:
        try:
            async with redis.pubsub() as subscription:
                await subscription.psubscribe(keyspace.DOORBELL_PATTERN)
                await subscription.subscribe(keyspace.ORDERS_BELL)
                reconnected()
                pause_s = 0.05
                unanswered = False
                while True:
                    asked_s = time.monotonic()
                    message = await subscription.get_message(
                        ignore_subscribe_messages=True, timeout=SILENCE_S
                    )
                    if message is None:
                        if time.monotonic() - asked_s < SILENCE_S / 2:
                            continue  # a subscription was confirmed
                        if unanswered:
                            raise RedisConnectionError("no answer to a ping")
                        await subscription.ping()
                        unanswered = True
                        continue
                    unanswered = False
                    if message["type"] == "message":
                        order(message["data"])
                    if message["type"] != "pmessage":
                        continue  # the answer to a ping
                    tenant = keyspace.tenant_of_doorbell(message["channel"])
                    if tenant is not None:
                        ring(tenant)
        except REDIS_ERRORS:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
