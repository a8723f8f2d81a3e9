"""Access of a client to a Redis that a test plays."""

from __future__ import annotations

from typing import cast

from redis.asyncio import Redis

from queueing.client.delivery.redis_access import RedisAccess
from queueing.config.accept_level import ReplicaWait


def access_to(redis: object, *, reply_id: str = "r1", wait: ReplicaWait | None = None) -> RedisAccess:
    """Access to the tenant ``acme``; ``redis`` has the commands that the test needs."""
    played = cast("Redis", redis)
    return RedisAccess(played, played, tenant="acme", reply_id=reply_id, now_ms=lambda: 0, wait=wait)
