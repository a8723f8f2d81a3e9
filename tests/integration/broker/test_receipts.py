"""Receipts in Redis: kept as long as results, and not replaced by one of an outcome that may not be the released one."""

from __future__ import annotations

from arq.connections import ArqRedis

from queueing.broker.receipts import JobReceipt, fetch, publish
from queueing.protocol import keyspace
from queueing.protocol.jobs import job_id_of

JOBS = [job_id_of("acme", number.to_bytes(16)) for number in range(3)]


async def test_receipts_are_found_by_their_jobs_until_their_time_ends(redis: ArqRedis) -> None:
    await publish(redis, [JobReceipt(JOBS[0], b"one"), JobReceipt(JOBS[2], b"three")], retention_ms=60_000)
    assert await fetch(redis, JOBS) == [b"one", None, b"three"]
    assert 0 < await redis.pttl(keyspace.receipt(JOBS[0])) <= 60_000


async def test_a_receipt_of_a_doubtful_outcome_replaces_none(redis: ArqRedis) -> None:
    """Another host may have published the right one; where there is none, it may be the right one."""
    for job_id, proofs in ((JOBS[0], (b"right", b"doubtful")), (JOBS[1], (b"doubtful", b"right"))):
        for proof in proofs:
            receipt = JobReceipt(job_id, proof, released=proof == b"right")
            await publish(redis, [receipt], retention_ms=60_000)
    assert await fetch(redis, JOBS) == [b"right", b"right", None]


async def test_a_value_of_another_type_costs_its_own_receipt(redis: ArqRedis) -> None:
    await redis.rpush(keyspace.receipt(JOBS[0]), "x")  # type: ignore[misc]  # redis-py's own union
    await publish(redis, [JobReceipt(JOBS[1], b"two")], retention_ms=60_000)
    assert await fetch(redis, JOBS) == [None, b"two", None]
