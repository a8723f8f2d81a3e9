"""Doorbells: one pattern subscription tells a worker of new jobs, whatever the number of tenants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.aio.backoff import Backoff
from queueing.protocol import keyspace
from queueing.redis.errors import REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

LONGEST_PAUSE_S: Final = 1.0
"""Longest pause before the next attempt to subscribe; each is shortened at random, so that workers do not come in step."""

SILENCE_S: Final = 10.0
"""A connection that is silent for so long gets a PING, and is taken as dead when it stays silent for as long again."""

_SUBSCRIBED: Final = frozenset(
    {
        ("psubscribe", keyspace.DOORBELL_PATTERN.encode()),
        ("subscribe", keyspace.ORDERS_BELL.encode()),
    }
)
"""Types and channels of the messages that confirm the subscription."""


async def listen(
    redis: Redis,
    ring: Callable[[str], None],
    reconnected: Callable[[], None],
    *,
    order: Callable[[bytes], None] = lambda _: None,
    backoff: Backoff | None = None,
) -> None:
    """Call ``ring(tenant)`` for each bell until cancelled, and ``reconnected`` when bells may have been missed.

    ``order`` gets each published stop order, unverified. After an error of Redis the subscription is made again, by redis-py
    where the connection broke. Each time ``reconnected`` is called once Redis has confirmed all of it: no bell is missed
    from there on, and every job that came before is found by a claim. A missed bell delays a job until the next poll, and
    loses none.
    """
    backoff = backoff or Backoff(most_s=LONGEST_PAUSE_S)
    while True:
        try:
            async with redis.pubsub() as subscription:
                await subscription.psubscribe(keyspace.DOORBELL_PATTERN)
                await subscription.subscribe(keyspace.ORDERS_BELL)
                unconfirmed = set(_SUBSCRIBED)
                while True:
                    message = await _next_message(subscription)
                    if (message["type"], message["channel"]) in unconfirmed:
                        unconfirmed.remove((message["type"], message["channel"]))
                        if not unconfirmed:
                            reconnected()
                            backoff.reset()
                            unconfirmed = set(_SUBSCRIBED)  # it is confirmed again on each new connection
                    _dispatch(message, ring, order)
        except REDIS_ERRORS:
            await asyncio.sleep(backoff.next_s())


async def _next_message(subscription: PubSub) -> dict[str, Any]:
    """The next message, confirmations and answers to PING among them; raises ``ConnectionError`` after a long silence."""
    message: dict[str, Any] | None = await subscription.get_message(timeout=SILENCE_S)
    if message is None:
        await subscription.ping()
        message = await subscription.get_message(timeout=SILENCE_S)
    if message is None:
        raise RedisConnectionError("no answer to a ping")
    return message


def _dispatch(message: dict[str, Any], ring: Callable[[str], None], order: Callable[[bytes], None]) -> None:
    if message["type"] == "message":
        order(message["data"])
    elif message["type"] == "pmessage":
        tenant = keyspace.tenant_of_doorbell(message["channel"])
        if tenant is not None:
            ring(tenant)
