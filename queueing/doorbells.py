"""Hearing doorbells: one pattern subscription, whatever the number of tenants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from queueing import keyspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

LONGEST_PAUSE_S: Final = 1.0


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
                while True:
                    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=10.0)
                    if message is None:
                        await subscription.ping()
                        continue
                    if message["type"] == "message":
                        order(message["data"])
                    if message["type"] != "pmessage":
                        continue  # the answer to a ping
                    tenant = keyspace.tenant_of_doorbell(message["channel"])
                    if tenant is not None:
                        ring(tenant)
        except (RedisError, OSError):
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
