"""Publication in Redis: key directories, which clients fetch, and backlog caps, which the submit script reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio import Redis

    from queueing.protocol.limits import PublishedCaps


async def publish_directory(redis: Redis, key: str, signed: bytes, ttl_ms: int) -> None:
    """Publish a signed key directory for ``ttl_ms``. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("publish a key directory"):
        await redis.set(key, signed, px=ttl_ms)


_TENANTS_PER_ROUND_TRIP: Final = 500


async def publish_caps(redis: Redis, caps: Mapping[str, PublishedCaps]) -> None:
    """Publish backlog caps by tenant. Raises ``QueueUnavailable`` (retryable).

    By them the submit script refuses early; the limits themselves are enforced at the claim, by the worker's
    configuration.
    """
    tenants = list(caps)
    with redis_errors("publish backlog caps"):
        for start in range(0, len(tenants), _TENANTS_PER_ROUND_TRIP):
            async with redis.pipeline(transaction=False) as pipe:
                for tenant in tenants[start : start + _TENANTS_PER_ROUND_TRIP]:
                    pipe.hset(keyspace.caps(tenant), mapping=_fields(caps[tenant]))
                await pipe.execute(
                    raise_on_error=False
                )  # a foreign type there is removed by the submit script


def _fields(caps: PublishedCaps) -> dict[str, int]:
    return {"digests": caps.backlog_digests, "bytes": caps.backlog_bytes, "budget": caps.budget_digests}


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
