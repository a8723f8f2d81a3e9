"""Stop orders in Redis: a hash without expiry, and a channel that carries each new one. Readers verify them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

from queueing.protocol import keyspace
from queueing.redis.cluster import ClusterRedis
from queueing.redis.errors import is_foreign_value, redis_errors
from queueing.redis.script_answers import checked, checked_each
from queueing.redis.values import count_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from redis.asyncio import Redis

MOST_LISTED: Final = 4096
"""More entries than this are a flood: then a poll reads a random sample, and orders travel by the channel alone."""

MOST_AT_ONCE: Final = 256
_ADOPTED_KEPT_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Poll:
    """Result of a poll: entries by their id, and the ids of known orders that are missing in Redis."""

    new: dict[bytes, bytes]
    missing: frozenset[bytes]


async def publish(redis: Redis, orders: Mapping[bytes, bytes]) -> int:
    """Store signed orders by id and publish them; returns the number of subscribers. Raises ``QueueUnavailable``."""
    receivers = 0
    with redis_errors("publish a stop order"):
        await _store(redis, orders)
        for signed in orders.values():
            receivers = await redis.publish(keyspace.ORDERS_BELL, signed)
        if isinstance(redis, ClusterRedis):  # PUBLISH counts those of one node
            return await _subscribers(redis)
        return receivers


async def poll(redis: Redis, known: Collection[bytes]) -> Poll:
    """Orders that are not in ``known``, and those of ``known`` that were removed. Raises ``QueueUnavailable``."""
    with redis_errors("poll stop orders"):
        try:
            return await _read_new(redis, known)
        except ResponseError as error:
            if not is_foreign_value(error):
                raise
            return Poll({}, frozenset(known))  # a foreign type in its place: to be published again


async def acknowledge(redis: Redis, order_ids: Collection[str], worker: str, now_ms: int) -> None:
    """Record that this worker and its lanes apply the orders. Raises ``QueueUnavailable``."""
    with redis_errors("acknowledge stop orders"):
        async with redis.pipeline(transaction=False) as pipe:
            for order_id in order_ids:
                pipe.hset(keyspace.order_adopted(order_id), worker, str(now_ms))
                pipe.expire(keyspace.order_adopted(order_id), _ADOPTED_KEPT_S)
            await pipe.execute(raise_on_error=False)


async def acknowledged_by(redis: Redis, order_id: str) -> dict[str, int]:
    """Workers that apply the order by their own account, and since when (Unix ms). Raises ``QueueUnavailable``."""
    with redis_errors("read acknowledged stop orders"):
        answer = checked(await _awaited(redis.hgetall(keyspace.order_adopted(order_id))), dict[bytes, bytes])
    return {worker.decode("utf-8", "replace"): count_of(since) for worker, since in answer.items()}


async def _subscribers(cluster: ClusterRedis) -> int:
    """Subscribers of all nodes that answer: a node that is down has none."""
    answers = await asyncio.gather(
        *(node.pubsub_numsub(keyspace.ORDERS_BELL) for node in await cluster.members()),
        return_exceptions=True,
    )
    return sum(count for answer in answers if isinstance(answer, list) for _, count in answer)


async def _store(redis: Redis, orders: Mapping[bytes, bytes]) -> None:
    mapping: dict[Any, Any] = dict(orders)
    try:
        await _awaited(redis.hset(keyspace.ORDERS, mapping=mapping))
    except ResponseError as error:
        if "WRONGTYPE" not in str(error):
            raise
        await redis.delete(keyspace.ORDERS)
        await _awaited(redis.hset(keyspace.ORDERS, mapping=mapping))


async def _read_new(redis: Redis, known: Collection[bytes]) -> Poll:
    if checked(await _awaited(redis.hlen(keyspace.ORDERS)), int) <= MOST_LISTED:
        listed = checked(await _awaited(redis.hkeys(keyspace.ORDERS)), list[bytes])
        missing = frozenset(known) - frozenset(listed)
    else:
        listed = checked(await _awaited(redis.hrandfield(keyspace.ORDERS, MOST_AT_ONCE)), list[bytes])
        missing = frozenset()
    wanted = [name for name in listed if name not in known]
    if not wanted:
        return Poll({}, missing)
    if len(wanted) > MOST_AT_ONCE:  # junk: a true order among it is found within a few polls
        wanted = random.sample(wanted, MOST_AT_ONCE)
    answer = await _awaited(redis.hmget(keyspace.ORDERS, wanted))
    values = checked_each(answer, list[bytes | None], len(wanted))
    return Poll({name: v for name, v in zip(wanted, values, strict=True) if v is not None}, missing)


async def _awaited(answer: Any) -> Any:
    """redis-py types its asynchronous answers as either kind."""
    return await answer
