"""Place of a client's jobs in its tenant's queue, for people who wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from queueing.broker.job_values import MOST_PLACED, QueuePosition
from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis


async def queue_position(redis: Redis, tenant: str, job_ids: Sequence[str]) -> QueuePosition:
    """Position of these jobs, of at most 128: two round trips. Raises ``QueueUnavailable`` (retryable)."""
    asked = list(job_ids[:MOST_PLACED])
    with redis_errors("read the place in the queue"):
        async with redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zmscore(keyspace.queue(tenant), asked)
            for job_id in asked:
                pipe.exists(keyspace.IN_PROGRESS_PREFIX + job_id)
            (seconds, microseconds), found, *held = await pipe.execute()
        places = checked_each(found, list[float | None], len(asked))
        leases = checked_each(held, list[int], len(asked))
        now_ms = seconds * 1000 + microseconds / 1000
        waiting = [
            place for place, leased in zip(places, leases, strict=True) if place is not None and not leased
        ]
        if not waiting:
            return QueuePosition(queued=0, in_work=sum(leases), ahead=None, retry_in_s=None)
        first = min(waiting)
        ahead: Any = None
        if first <= now_ms:
            (ahead,) = await _counted(redis, tenant, first)
    return QueuePosition(
        queued=len(waiting),
        in_work=sum(leases),
        ahead=max(ahead, 0) if isinstance(ahead, int) else None,
        retry_in_s=(first - now_ms) / 1000 if first > now_ms else None,
    )


async def _counted(redis: Redis, tenant: str, place: float) -> list[int | RedisError]:
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcount(keyspace.queue(tenant), "-inf", f"({place:.3f}")
        answers: list[int | RedisError] = await pipe.execute(raise_on_error=False)
    return answers
