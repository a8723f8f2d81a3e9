"""Queue statistics of all tenants, for monitoring. Reads only, and scans nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.jobs import decode_job
from queueing.redis.cluster import primaries_of
from queueing.redis.errors import raise_outage, redis_errors
from queueing.redis.script_answers import checked
from queueing.redis.values import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis.asyncio import Redis

_TENANTS_PER_ROUND_TRIP: Final = 256
"""Some hundred microseconds of Redis' time each."""

_MS_PER_S: Final = 1000.0
_DAY_S: Final = 86_400
_PER_TENANT: Final = 5
_PER_QUEUE: Final = 2

_MOST_PAYLOAD_BYTES: Final = 256 * 1024
"""As the claim script has it: a larger value is no job, and is not copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One tenant's queue. Jobs: due (``ready``), or leased and due later; ``digests`` accepted and not ended.

    ``age_s`` is how long the job whose turn is next has waited since its submit. ``accepted_digests`` and
    ``refused`` count for ever. ``caps``: digests, bytes, budget as the submit script reads them; None where
    nothing is published. ``spent``: of today's budget. A value of a foreign type counts as 0.
    """

    ready: int = 0
    leased: int = 0
    digests: int = 0
    age_s: float = 0.0
    accepted_digests: int = 0
    refused: int = 0
    spent: int = 0
    caps: tuple[int, int, int] | None = None
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisState:
    """State of the server. ``memory_limit_bytes`` 0: no limit. ``run_id``: changes with each start of Redis.

    Of a cluster: memory of the primary that is fullest, and the ids of all primaries.
    """

    memory_used_bytes: int
    memory_limit_bytes: int
    run_id: str


async def redis_state(redis: Redis) -> RedisState:
    """One INFO of each primary. Raises ``QueueUnavailable`` (retryable)."""
    with redis_errors("read the state of Redis"):
        answers = await asyncio.gather(*(node.info() for node in await primaries_of(redis)))
        infos = [checked(answer, dict[str, Any]) for answer in answers]
    fullest = max(infos, key=_fullness)
    return RedisState(
        memory_used_bytes=count_of(fullest.get("used_memory")),
        memory_limit_bytes=count_of(fullest.get("maxmemory")),
        run_id=" ".join(sorted(str(info.get("run_id", "")) for info in infos)),
    )


def _fullness(info: Mapping[str, Any]) -> tuple[float, int]:
    """Used part of the limit, where there is one, and then what is used."""
    used, limit = count_of(info.get("used_memory")), count_of(info.get("maxmemory"))
    return (used / limit if limit else 0.0, used)


async def read_queue_stats(
    redis: Redis, tenants: Sequence[str], now_s: Callable[[], float] = time.time
) -> dict[str, QueueState]:
    """Statistics of every tenant's queue: one round trip for 256 tenants, and two more for those of them that have jobs.

    O(tenants + log(backlog)). Raises ``QueueUnavailable`` (retryable).
    """
    states: dict[str, QueueState] = {}
    with redis_errors("read the queues"):
        for start in range(0, len(tenants), _TENANTS_PER_ROUND_TRIP):
            states |= await _read_batch(redis, tenants[start : start + _TENANTS_PER_ROUND_TRIP], now_s())
    return states


async def _read_batch(redis: Redis, tenants: Sequence[str], now_s: float) -> dict[str, QueueState]:
    async with redis.pipeline(transaction=False) as pipe:
        for tenant in tenants:
            pipe.zcard(keyspace.queue(tenant))
            pipe.hmget(keyspace.backlog(tenant), ["digests", "accepted", "refused"])
            pipe.hmget(keyspace.caps(tenant), ["digests", "bytes", "budget"])
            pipe.hmget(keyspace.limiter(tenant), ["day", "spent"])
            pipe.hlen(keyspace.dead_letters(tenant))
        answers = await pipe.execute(raise_on_error=False)
    raise_outage(answers)
    rows = {tenant: answers[_PER_TENANT * i : _PER_TENANT * (i + 1)] for i, tenant in enumerate(tenants)}
    turns = await _read_due(redis, [tenant for tenant in tenants if count_of(rows[tenant][0])], now_s)
    return {tenant: _state(row, *turns.get(tenant, (0, 0.0)), now_s) for tenant, row in rows.items()}


async def _read_due(redis: Redis, tenants: Sequence[str], now_s: float) -> dict[str, tuple[int, float]]:
    """Number of due jobs, and the age of the first, by tenant whose queue is not empty."""
    if not tenants:
        return {}
    due = f"{now_s * _MS_PER_S:.3f}"
    async with redis.pipeline(transaction=False) as pipe:
        for tenant in tenants:
            pipe.zcount(keyspace.queue(tenant), "-inf", due)
            pipe.zrangebyscore(keyspace.queue(tenant), "-inf", due, start=0, num=1)
        answers = await pipe.execute(raise_on_error=False)
    raise_outage(answers)
    ready = {tenant: count_of(answers[_PER_QUEUE * i]) for i, tenant in enumerate(tenants)}
    first = {
        tenant: found[0]
        for i, tenant in enumerate(tenants)
        if isinstance(found := answers[_PER_QUEUE * i + 1], list) and found
    }
    ages = await _ages(redis, first, now_s)
    return {tenant: (ready[tenant], ages.get(tenant, 0.0)) for tenant in tenants}


async def _ages(redis: Redis, job_ids: dict[str, bytes], now_s: float) -> dict[str, float]:
    """Time since the submit of each job, which only the job itself has: its place in the queue depends on its priority."""
    if not job_ids:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids.values():
            pipe.getrange(keyspace.JOB_PREFIX.encode() + job_id, 0, _MOST_PAYLOAD_BYTES)
        payloads = await pipe.execute(raise_on_error=False)
    raise_outage(payloads)
    ages = {}
    for tenant, payload in zip(job_ids, payloads, strict=True):
        if isinstance(payload, bytes):
            try:
                enqueued_at_s = decode_job(payload).enqueued_at_ms / _MS_PER_S
            except SigningError:
                continue  # a worker will refuse it; its age counts for nothing
            ages[tenant] = max(now_s - enqueued_at_s, 0.0)
    return ages


def _state(row: Sequence[Any], ready: int, age_s: float, now_s: float) -> QueueState:
    queued, backlog, caps, limiter, dead = row
    digests, accepted, refused = _numbers(backlog, 3)
    day, spent = _numbers(limiter, 2)
    published = isinstance(caps, list) and any(field is not None for field in caps)
    digest_cap, byte_cap, budget = _numbers(caps, 3)
    return QueueState(
        ready=ready,
        leased=max(count_of(queued) - ready, 0),
        digests=digests,
        age_s=age_s,
        accepted_digests=accepted,
        refused=refused,
        spent=spent if day == int(now_s // _DAY_S) else 0,
        caps=(digest_cap, byte_cap, budget) if published else None,
        dead=count_of(dead),
    )


def _numbers(answer: object, count: int) -> list[int]:
    """Counts; zeros where a foreign type is in the hash's place, or the answer has another length."""
    if not isinstance(answer, list) or len(answer) != count:
        return [0] * count
    return [count_of(value) for value in answer]
