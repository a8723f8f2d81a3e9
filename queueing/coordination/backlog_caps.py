"""Backlog caps in Redis: the largest backlog of each tenant, published by workers for the submit script.

``queueing/redis/lua/submit.lua`` counts the backlog (accepted digests without a result) and refuses a job beyond the cap
with ``limit.backlog``; the claim, commit, cancel and requeue scripts count it down or up. A writer to Redis can go round
that: so ``claim.lua`` has the worker refuse what exceeds twice the cap, by the worker's own configuration.
``queueing/broker/queue_stats.py`` measures backlogs for monitoring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

    from queueing.protocol.limits import PublishedCaps

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
