"""Doorbells: one pattern subscription tells a worker of new jobs, whatever the number of tenants."""

from __future__ import annotations

import asyncio
import time
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

BELLS_PER_S: Final = 5000.0
"""Bells that are read for long, and as many at once: for a fifth of a core, as each costs some 40 us of the worker's loop.
A submit rings only where a claim has found nothing since the bell before: a busy tenant a few hundred times a second."""

BELL_BYTES: Final = 1024
"""Longer messages count for more. A bell of ours is the tenant's name; a stop order has about 400 bytes."""

RECONNECTED: Final = 0.4 * BELLS_PER_S
"""Bells for which a new subscription counts: it has the worker claim for all tenants, and one message of 32 MB ends it."""

SHORTEST_REST_S: Final = 0.01
LONGEST_REST_S: Final = 1.0
"""Jobs are found by the slow poll meanwhile, and stop orders by theirs, which is every 0.5 s."""

_SUBSCRIBED: Final = frozenset(
    {
        ("psubscribe", keyspace.DOORBELL_PATTERN.encode()),
        ("subscribe", keyspace.ORDERS_BELL.encode()),
    }
)
"""Types and channels of the messages that confirm the subscription."""


class BellAllowance:
    """Bells that a listener may read now, so that a flood of them leaves the loop to the signing jobs."""

    def __init__(self) -> None:
        self._left = BELLS_PER_S
        self._seen_s = time.monotonic()

    def rest_s(self, bells: float) -> float:
        """Time to rest after so many more; 0 while there is something left."""
        now_s = time.monotonic()
        earned = (now_s - self._seen_s) * BELLS_PER_S
        self._seen_s = now_s
        self._left = max(min(self._left + earned, BELLS_PER_S) - bells, -BELLS_PER_S * LONGEST_REST_S)
        return 0.0 if self._left >= 0 else max(-self._left / BELLS_PER_S, SHORTEST_REST_S)


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

    Any tenant may publish what it likes on its channel. Beyond ``BELLS_PER_S`` messages are left to Redis, which closes the
    connection when too many wait (``client-output-buffer-limit pubsub``): they are gone, and it is subscribed again.
    """
    backoff = backoff or Backoff(most_s=LONGEST_PAUSE_S)
    allowance = BellAllowance()
    while True:
        try:
            async with redis.pubsub() as subscription:
                await subscription.psubscribe(keyspace.DOORBELL_PATTERN)
                await subscription.subscribe(keyspace.ORDERS_BELL)
                unconfirmed = set(_SUBSCRIBED)
                while True:
                    message = await _next_message(subscription)
                    bells = _bells(message)
                    if (message["type"], message["channel"]) in unconfirmed:
                        unconfirmed.remove((message["type"], message["channel"]))
                        if not unconfirmed:
                            reconnected()
                            bells += RECONNECTED
                            backoff.reset()
                            unconfirmed = set(_SUBSCRIBED)  # it is confirmed again on each new connection
                    _dispatch(message, ring, order)
                    if rest_s := allowance.rest_s(bells):
                        await asyncio.sleep(rest_s)
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


def _bells(message: dict[str, Any]) -> float:
    """Bells for which a message counts: a long one takes as long to read."""
    data = message["data"]
    return 1.0 + (len(data) // BELL_BYTES if isinstance(data, bytes) else 0)


def _dispatch(message: dict[str, Any], ring: Callable[[str], None], order: Callable[[bytes], None]) -> None:
    if message["type"] == "message":
        order(message["data"])
    elif message["type"] == "pmessage":
        tenant = keyspace.tenant_of_doorbell(message["channel"])
        if tenant is not None:
            ring(tenant)
