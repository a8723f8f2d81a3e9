"""State of the queue in Redis, as the run itself reads it: results of jobs, and leftovers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import cast

from arq.connections import ArqRedis

from queueing.protocol import keyspace
from queueing.protocol.jobs import decode_result
from queueing.redis.cluster import primaries_of
from tests.faults.harness.tokens import TENANTS
from tests.faults.history import Answered


async def results_of(redis: ArqRedis, jobs: Sequence[str]) -> list[bytes | None]:
    """The stored result of each job; None where there is none."""
    if not jobs:
        return []
    async with redis.pipeline(transaction=False) as pipe:  # a cluster has no MGET over its slots
        for job in jobs:
            pipe.get(keyspace.result(job))
        found: list[bytes | None] = await pipe.execute()
    return found


def answer_of(job: str, tenant: str, raw: bytes) -> Answered:
    """A stored result, as an answer that a reader of Redis got."""
    result = decode_result(raw).outcome
    code = getattr(result, "reason", "")
    if code:
        return Answered(at=time.time(), client="redis", tenant=tenant, job=job, how="fail", code=code)
    return Answered(
        at=time.time(),
        client="redis",
        tenant=tenant,
        job=job,
        how="ok",
        signatures=tuple(s or b"" for s in result.signatures),  # type: ignore[union-attr]  # no error, so an outcome
        codes={i: note.code for i, note in result.errors.items()},  # type: ignore[union-attr]
    )


async def left_in(redis: ArqRedis) -> list[str]:
    """Leftovers, although no accepted job is unfinished."""
    found = []
    for tenant in TENANTS:
        if await redis.zcard(keyspace.queue(tenant)):
            found.append(f"{tenant}: jobs in the queue")
        if await redis.exists(keyspace.claims(tenant)):  # Redis has no empty hash
            found.append(f"{tenant}: claims")
        if await _backlog(redis, tenant):
            found.append(f"{tenant}: digests in the backlog")
    for node in await primaries_of(redis):
        found += ["leases"] if await node.keys("arq:in-progress:*") else []
    return found


async def _backlog(redis: ArqRedis, tenant: str) -> int:
    digests = await cast("Awaitable[bytes | None]", redis.hget(keyspace.backlog(tenant), "digests"))
    return int(digests or 0)
