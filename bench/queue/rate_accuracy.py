"""Accuracy of a tenant's rate limit: workers claim as fast as they may, from one Redis with work for all."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import ClaimRequest, ClaimResult, Claims, Commit, Retention
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobHints, encode_job
from queueing.protocol.limits import ClaimLimits
from queueing.redis.connection import connect

if TYPE_CHECKING:
    from arq.connections import ArqRedis

    from queueing.broker.claims import ClaimedJob
    from queueing.config.redis import RedisConfig

TENANT: Final = "limited"
ALGORITHM: Final = "RSASSA_PKCS1_V1_5_SHA_256"
COST: Final = 3.0
_JOBS_PER_CLAIM: Final = 256
_LEASE_MS: Final = 60_000
_QUEUED_AT_ONCE: Final = 1000

_LATE_S: Final = 30.0
"""Time for which jobs are queued beyond the end, for claims that come late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Cost units claimed in ``seconds`` of Redis's clock, and the limit's allowance: the burst and the rate.

    ``least``: the allowance between the end of the first claim and the beginning of the last one, which took all that was left:
    a claimer that the machine kept waiting has missed nothing of it, unless the bucket was full meanwhile.
    """

    cost: float
    allowed: float
    least: float
    seconds: float
    claims: int

    @property
    def ratio(self) -> float:
        """1 where exactly the limit was admitted."""
        return self.cost / self.allowed


async def admitted(
    config: RedisConfig,
    *,
    seconds: float,
    workers: int = 4,
    rate_per_s: float = 3000.0,
    burst: float = 3000.0,
    digests_per_job: int = 16,
) -> Admitted:
    """Let ``workers`` claim for so long, each with a connection of its own; what they claim is committed at once."""
    limits = ClaimLimits(rate_per_s=rate_per_s, burst=burst, costs={ALGORITHM: COST})
    redis = connect(config)
    most = burst + rate_per_s * (seconds + _LATE_S)
    await _fill(redis, jobs=int(1.5 * most / (COST * digests_per_job)), digests=digests_per_job)
    began_s = await _time_s(redis)
    first = await _claim_until(config, "first", limits, time.monotonic())
    started_s = await _time_s(redis)
    until = time.monotonic() + seconds
    counts = await asyncio.gather(
        *(_claim_until(config, f"worker-{number}", limits, until) for number in range(workers))
    )
    ending_s = await _time_s(redis)
    last = await _claim_until(config, "last", limits, time.monotonic())
    ended_s = await _time_s(redis)
    await redis.aclose()
    return Admitted(
        cost=sum(cost for cost, _ in (first, *counts, last)),
        allowed=burst + rate_per_s * (ended_s - began_s),
        least=burst + rate_per_s * (ending_s - started_s),
        seconds=ended_s - began_s,
        claims=sum(claims for _, claims in counts),
    )


async def _time_s(redis: ArqRedis) -> float:
    seconds, microseconds = await redis.time()
    return float(seconds) + float(microseconds) / 1e6


async def _fill(redis: ArqRedis, *, jobs: int, digests: int) -> None:
    payload = encode_job(os.urandom(300 + 34 * digests), JobHints(n=digests, alg=ALGORITHM), 0)
    for start in range(0, jobs, _QUEUED_AT_ONCE):
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + _QUEUED_AT_ONCE, jobs)):
                job_id = f"{{{TENANT}}}{number:032x}"
                pipe.set(keyspace.job(job_id), payload)
                pipe.zadd(keyspace.queue(TENANT), {job_id: number})
            await pipe.execute()


async def _claim_until(
    config: RedisConfig, owner: str, limits: ClaimLimits, until: float
) -> tuple[float, int]:
    """Claim as a worker's intake does, again when the answer says; the last time after ``until``, and then all that is left."""
    redis = connect(config)
    claims = Claims(redis, owner=owner, lease_ms=_LEASE_MS)
    request = ClaimRequest(tenant=TENANT, most_jobs=_JOBS_PER_CLAIM, most_digests=1_000_000, limits=limits)
    cost, count = 0.0, 0
    over = False
    while not over:
        ending = time.monotonic() >= until
        (answer,) = await claims.claim([request])
        count += 1
        if not isinstance(answer, ClaimResult):
            raise answer
        cost += sum(job.charged_cost for job in answer.jobs)
        if answer.jobs:
            await claims.commit({TENANT: [_done(job) for job in answer.jobs]}, Retention(result_ms=1000))
        over = ending and len(answer.jobs) < _JOBS_PER_CLAIM
        await asyncio.sleep(min(answer.wait_s, max(until - time.monotonic(), 0.0)))
    await redis.aclose()
    return cost, count


def _done(job: ClaimedJob) -> Commit:
    return Commit(job.job_id, job.lease, b"r", "")
