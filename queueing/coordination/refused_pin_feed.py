"""Feed of refused PINs between hosts: two bytes of a slow, salted hash for each token. Uses no key of a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.protocol import keyspace
from queueing.redis.errors import is_foreign_value, redis_errors
from queueing.redis.script_answers import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis


async def sync(redis: Redis, known: Mapping[str, bytes]) -> dict[str, bytes]:
    """Store the refusals that this host knows, and return those of all hosts, by token: one round trip.

    Raises ``QueueUnavailable`` (retryable). A foreign type under the key is removed, and the next call stores them again.
    """
    with redis_errors("exchange refused PINs"):
        async with redis.pipeline(transaction=False) as pipe:
            if known:
                pipe.hset(keyspace.REFUSED_PINS, mapping=dict(known))
            pipe.hgetall(keyspace.REFUSED_PINS)
            *_, stored = await pipe.execute(raise_on_error=False)
        if is_foreign_value(stored):
            await redis.delete(keyspace.REFUSED_PINS)
            return dict(known)
        refused = checked(stored, dict[bytes, bytes])
    return {token.decode("utf-8", "replace"): warning for token, warning in refused.items()}


async def clear(redis: Redis, token: str) -> None:
    """Remove the refusal of a token that an operator resumes. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("clear a refused PIN"):
        await redis.hdel(keyspace.REFUSED_PINS, token)  # type: ignore[misc]  # redis-py's stub: Awaitable or int
