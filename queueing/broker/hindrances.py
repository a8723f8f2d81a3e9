"""Hindrances of a tenant: why a worker signs nothing for it, for clients that wait. A tenant's Redis user may read its own.

Written again every few seconds while it lasts, and gone soon after; of several hosts the last one is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from queueing.broker.hindrance_values import Hindrance
from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

KEEP_MS: Final = 15_000
"""Three intervals of the workers' reports."""

_decoder: Final = msgspec.msgpack.Decoder(Hindrance)


async def publish(redis: Redis, hindrances: Mapping[str, Hindrance]) -> None:
    """Publish hindrances by tenant, in one round trip (of a cluster: one for each shard). Raises ``QueueUnavailable``."""
    with redis_errors("publish hindrances"):
        async with redis.pipeline(transaction=False) as pipe:
            for tenant, hindrance in hindrances.items():
                pipe.set(keyspace.hindrance(tenant), msgspec.msgpack.encode(hindrance), px=KEEP_MS)
            await pipe.execute()


async def hindrance_of(redis: Redis, tenant: str) -> Hindrance | None:
    """The hindrance that a worker reported last; None without one, and for a value that cannot be read.

    One round trip. Raises ``QueueUnavailable`` (retryable), also for a Redis user of an earlier version, who may not read it.
    """
    with redis_errors("read why jobs wait"):
        answer = await redis.get(keyspace.hindrance(tenant))
        value: bytes | None = checked(answer, bytes | None)  # type: ignore[arg-type]  # a union is a type
    try:
        return None if value is None else _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
