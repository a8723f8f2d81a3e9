"""Key directories in Redis, which clients fetch: publication, the published ones, and the tenants without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

LARGEST_BYTES: Final = 8 * 2**20
"""Far above a directory of a thousand keys with their certificates. Of a larger value only so much is read."""

READ_AT_ONCE: Final = 200
"""Directories in one round trip; most have some kilobytes."""


async def publish_directory(redis: Redis, key: str, signed: bytes, ttl_ms: int) -> None:
    """Publish a signed key directory for ``ttl_ms``. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("publish a key directory"):
        await redis.set(key, signed, px=ttl_ms)


async def directories_missing(redis: Redis, tenants: Sequence[str]) -> list[str]:
    """The tenants without a directory, or with a foreign type in its place. Raises ``QueueUnavailable``."""
    if not tenants:
        return []
    with redis_errors("look for missing key directories"):
        async with redis.pipeline(transaction=False) as pipe:
            for tenant in tenants:
                pipe.strlen(keyspace.directory(tenant))
            lengths = await pipe.execute(raise_on_error=False)
    return [
        tenant
        for tenant, length in zip(tenants, lengths, strict=True)
        if isinstance(length, ResponseError) or length == 0
    ]


async def published_directories(redis: Redis, tenants: Sequence[str]) -> dict[str, bytes]:
    """The signed directories of these tenants, of those that have one: nothing is verified. A round trip for each ``READ_AT_ONCE``.

    Raises ``QueueUnavailable`` (retryable).
    """
    found: dict[str, bytes] = {}
    with redis_errors("fetch key directories"):
        for first in range(0, len(tenants), READ_AT_ONCE):
            some = tenants[first : first + READ_AT_ONCE]
            async with redis.pipeline(transaction=False) as pipe:
                for tenant in some:
                    pipe.getrange(keyspace.directory(tenant), 0, LARGEST_BYTES - 1)
                answers = await pipe.execute(raise_on_error=False)
            pairs = zip(some, answers, strict=True)
            found |= {tenant: answer for tenant, answer in pairs if isinstance(answer, bytes) and answer}
    return found
