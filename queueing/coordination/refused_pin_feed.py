"""What hosts tell each other of refused PINs: two bytes of a slow, salted hash for each token. No Redis key of a tenant's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis


async def exchange(redis: Redis, told: Mapping[str, bytes]) -> dict[str, bytes]:
    """Tell what this host knows, and hear what all know, by token: one round trip.

    Raises ``QueueUnavailable`` (retryable). A foreign type under the key is removed, and told anew the next time.
    """
    with redis_errors("exchange refused PINs"):
        async with redis.pipeline(transaction=False) as pipe:
            if told:
                pipe.hset(keyspace.REFUSED_PINS, mapping=dict(told))
            pipe.hgetall(keyspace.REFUSED_PINS)
            *_, heard = await pipe.execute(raise_on_error=False)
        if isinstance(heard, RedisError):
            await redis.delete(keyspace.REFUSED_PINS)
            return dict(told)
    return {token.decode("utf-8", "replace"): warning for token, warning in heard.items()}


async def withdraw(redis: Redis, token: str) -> None:
    """An operator resumes the token. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("clear a refused PIN"):
        await redis.hdel(keyspace.REFUSED_PINS, token)  # type: ignore[misc]  # redis-py's stub: Awaitable or int
