"""Values of a wrong type under keys that a running worker uses, planted in one transaction.

Deleted and written in two steps, a key is gone for a moment, in which the worker may write it itself: the second step then meets the
worker's value, and fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis

NOT_WHAT_YOU_THINK: Final = ("not", "what", "you", "think")


async def plant_list(redis: Redis, key: str) -> None:
    """Put a list in the place of whatever is there."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(key)
        pipe.rpush(key, *NOT_WHAT_YOU_THINK)
        await pipe.execute()


async def plant_hash(redis: Redis, key: str, fields: Mapping[str, str]) -> None:
    """Put a hash in the place of whatever is there."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(key)
        pipe.hset(key, mapping=dict(fields))
        await pipe.execute()
