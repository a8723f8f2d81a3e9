"""State of a job, by what Redis holds of it; nothing of it is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from queueing.broker.job_values import JobStatus, QueuedState, status_from
from queueing.errors import QueueUnconfirmed
from queueing.protocol import keyspace
from queueing.redis.connection import look_for_primary
from queueing.redis.errors import redis_errors
from queueing.redis.script_answers import checked, checked_each
from queueing.redis.values import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from queueing.config.accept_level import ReplicaWait


async def look_up(
    redis: Redis, tenant: str, job_ids: Sequence[str], *, wait: ReplicaWait | None = None
) -> list[QueuedState]:
    """One round trip for jobs of one tenant. Raises ``QueueUnavailable`` (retryable).

    The results are read last: a commit writes the result and removes the job in one step, so a job that is
    missing here while its result is too was really lost.
    ``wait``: this server must show by so many replicas that it is the primary still, else ``QueueUnconfirmed`` (retryable):
    one that was away meanwhile and was replaced lacks the jobs that its successor has taken.
    """
    with redis_errors("read the state of jobs"):
        async with redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.exists(keyspace.job(job_id))
            for job_id in job_ids:
                pipe.exists(keyspace.IN_PROGRESS_PREFIX + job_id)
            pipe.zmscore(keyspace.queue(tenant), list(job_ids))
            pipe.mget([keyspace.result(job_id) for job_id in job_ids])
            for command in wait.commands(keyspace.mark(tenant)) if wait else ():
                pipe.execute_command(*command)
            answers = await pipe.execute()
        if wait is not None and checked(answers[-1], int) < wait.replicas:
            await look_for_primary(redis)
            raise QueueUnconfirmed
        n = len(job_ids)
        flags = checked_each(answers[: 2 * n], list[int], 2 * n)
        places = checked_each(answers[2 * n], list[float | None], n)
        results = checked_each(answers[2 * n + 1], list[bytes | None], n)
    return [
        QueuedState(result=result, has_job=bool(has_job), due_ms=due_ms, leased=bool(leased))
        for has_job, leased, due_ms, result in zip(flags[:n], flags[n:], places, results, strict=True)
    ]


async def status_of(redis: Redis, tenant: str, job_id: str) -> JobStatus:
    """State of a job, unverified: one round trip. Raises ``QueueUnavailable`` (retryable)."""
    return status_from(job_id, (await look_up(redis, tenant, [job_id]))[0])


async def results_of(redis: Redis, job_ids: Sequence[str]) -> list[bytes | None]:
    """Results of jobs of one tenant, as arq writes them; None where there is none. One command. Raises ``QueueUnavailable``."""
    with redis_errors("read results"):
        answers = await redis.mget([keyspace.result(job_id) for job_id in job_ids])
        return checked_each(answers, list[bytes | None], len(job_ids))


async def result_sizes(redis: Redis, job_ids: Sequence[str]) -> list[int]:
    """Bytes of each job's result; 0 where there is none. One round trip. Raises ``QueueUnavailable``."""
    with redis_errors("read the sizes of results"):
        async with redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.strlen(keyspace.result(job_id))
            return checked_each(await pipe.execute(), list[int], len(job_ids))


_COUNTERS = ("attempt", "fence", "digests", "bytes", "charge", "crashes")
"""Of ``keyspace.claims``, in order."""


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """Full state of a job. ``lease`` is ``worker:fence`` of its owner; ``due_in_s`` its place in the queue, or its lease's end.

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


async def report_of(redis: Redis, tenant: str, job_id: str) -> JobReport:
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
            pipe.hexists(keyspace.dead_letters(tenant), job_id)
            pipe.pttl(keyspace.result(job_id))
            answers = await pipe.execute(raise_on_error=False)
    time, lease, lease_ms, due_ms, claimed, dead, result_ms = answers
    counters = _counters(claimed)
    return JobReport(
        status=status,
        lease=lease.decode("utf-8", "replace") if isinstance(lease, bytes) else None,
        lease_left_s=_seconds(lease_ms),
        due_in_s=_due_in_s(due_ms, time),
        attempts=counters.get("attempt"),
        crashes=counters.get("crashes"),
        digests=counters.get("digests"),
        dead_letter=dead is True or dead == 1,
        result_left_s=_seconds(result_ms),
    )


def _due_in_s(due_ms: object, time: object) -> float | None:
    """Time until a place in the queue is due; None where there is none, or Redis does not tell its time."""
    if not (isinstance(due_ms, float) and isinstance(time, tuple)):
        return None
    seconds, microseconds = checked(time, tuple[int, int])
    return (due_ms - (seconds * 1000 + microseconds / 1000)) / 1000


def _seconds(ttl_ms: Any) -> float | None:
    """A key's time to live; None where there is no such key, or it has no end."""
    return ttl_ms / 1000 if isinstance(ttl_ms, int) and ttl_ms >= 0 else None


def _counters(claimed: Any) -> dict[str, int]:
    """The counters that ``lua/claim.lua`` keeps; empty where another writer left something else."""
    if not isinstance(claimed, bytes):
        return {}
    return {name: count_of(value) for name, value in zip(_COUNTERS, claimed.split(b":"), strict=False)}
