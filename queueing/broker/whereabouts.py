"""Everything that Redis holds of one job, for an operator who looks for it. Nothing of it is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from queueing.broker.job_state import JobStatus, status_of
from queueing.protocol import keyspace
from queueing.redis.errors import redis_errors

if TYPE_CHECKING:
    from redis.asyncio import Redis

_COUNTERS = ("attempt", "fence", "digests", "bytes", "charge", "crashes")
"""Of ``keyspace.claims``, in order."""


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """``lease`` is ``worker:fence`` of whoever has the job; ``due_in_s`` its place in the queue, or its lease's end.

    ``attempts`` were begun, ``crashes`` of them ended with their worker. None: Redis does not hold it.
    """

    status: JobStatus
    lease: str | None = None
    lease_left_s: float | None = None
    due_in_s: float | None = None
    attempts: int | None = None
    crashes: int | None = None
    digests: int | None = None
    dead_letter: bool = False
    result_left_s: float | None = None


async def whereabouts(redis: Redis, tenant: str, job_id: str) -> JobReport:
    """Two round trips. Raises ``QueueUnavailable`` (retryable)."""
    status = await status_of(redis, tenant, job_id)
    lease_key = keyspace.IN_PROGRESS_PREFIX + job_id
    with redis_errors("read the state of a job"):
        async with redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.get(lease_key)
            pipe.pttl(lease_key)
            pipe.zscore(keyspace.queue(tenant), job_id)
            pipe.hget(keyspace.claims(tenant), job_id)
            pipe.hexists(keyspace.dead(tenant), job_id)
            pipe.pttl(keyspace.result(job_id))
            answers = await pipe.execute(raise_on_error=False)
    time, lease, lease_ms, due_ms, claimed, dead, result_ms = answers
    counters = _counters(claimed)
    return JobReport(
        status=status,
        lease=lease.decode("utf-8", "replace") if isinstance(lease, bytes) else None,
        lease_left_s=_seconds(lease_ms),
        due_in_s=(due_ms - (time[0] * 1000 + time[1] / 1000)) / 1000 if isinstance(due_ms, float) else None,
        attempts=counters.get("attempt"),
        crashes=counters.get("crashes"),
        digests=counters.get("digests"),
        dead_letter=dead is True or dead == 1,
        result_left_s=_seconds(result_ms),
    )


def _seconds(ttl_ms: Any) -> float | None:
    """A key's time to live; None where there is no such key, or it has no end."""
    return ttl_ms / 1000 if isinstance(ttl_ms, int) and ttl_ms >= 0 else None


def _counters(claimed: Any) -> dict[str, int]:
    """What ``lua/claim.lua`` keeps; nothing where somebody wrote nonsense."""
    if not isinstance(claimed, bytes):
        return {}
    try:
        return {name: int(value) for name, value in zip(_COUNTERS, claimed.split(b":"), strict=False)}
    except ValueError:
        return {}
