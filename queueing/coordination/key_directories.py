"""Key directories in Redis, which clients fetch: publication, and the tenants without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis


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
