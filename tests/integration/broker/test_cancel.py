"""Cancelling on a real Redis: what no worker has claimed is removed, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from arq.connections import ArqRedis

from queueing.broker.cancel import cancel
from queueing.broker.claims import Claims
from queueing.broker.job_values import CancelStatus
from queueing.broker.submissions import Submission, SubmitStatus
from queueing.errors import JobCancelled
from queueing.protocol import keyspace
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import seal
from queueing.protocol.jobs import decode_result
from queueing.unix_time import unix_ms
from tests.support.farm.queued import LEASE_MS, QUEUE, TENANT, put, submission, take

CLIENT = "ci"


@pytest.fixture
async def job(redis: ArqRedis) -> Submission:
    """A job of the client, accepted."""
    made = submission(1)
    sealed = replace(made, sealed=seal(made.envelope, ClientKey.generate()))
    await put(redis, sealed)
    return sealed


async def cancel_it(redis: ArqRedis, job: Submission, client: str = CLIENT) -> CancelStatus:
    (status,) = await cancel(redis, TENANT, client, [job.job_id], now_ms=unix_ms())
    return status


async def test_a_queued_job_is_removed_and_its_result_says_so(redis: ArqRedis, job: Submission) -> None:
    """Nothing of it is in the backlog any more, and it may be submitted again."""
    assert await cancel_it(redis, job) is CancelStatus.CANCELLED
    raw = await redis.get(keyspace.result(job.job_id))
    assert isinstance(decode_result(raw).outcome, JobCancelled)
    assert not await redis.exists(keyspace.job(job.job_id))
    assert await redis.zcard(QUEUE) == 0
    backlog = await redis.hmget(keyspace.backlog(TENANT), ["digests", "bytes"])  # type: ignore[misc]
    assert backlog == [b"0", b"0"]
    (receipt,) = await put(redis, job)
    assert receipt.accepted is SubmitStatus.ACCEPTED


async def test_a_leased_job_is_not_cancelled(redis: ArqRedis, one: Claims, job: Submission) -> None:
    """A worker holds it, and its payload stays."""
    await take(one)
    assert await cancel_it(redis, job) is CancelStatus.CLAIMED
    assert await redis.exists(keyspace.job(job.job_id))


async def test_a_job_whose_lease_ran_out_is_not_cancelled(
    redis: ArqRedis, one: Claims, job: Submission
) -> None:
    """Its worker may have signed it, and may publish that until another one has it."""
    await take(one)
    await redis.delete(keyspace.IN_PROGRESS_PREFIX + job.job_id)
    assert await cancel_it(redis, job) is CancelStatus.CLAIMED


async def test_a_job_that_a_stock_worker_has_is_not_cancelled(redis: ArqRedis, job: Submission) -> None:
    """A lease that is only arq's own key counts as a claim."""
    await redis.set(keyspace.IN_PROGRESS_PREFIX + job.job_id, "stock", px=LEASE_MS)
    assert await cancel_it(redis, job) is CancelStatus.CLAIMED


async def test_a_job_that_was_given_back_is_cancelled(redis: ArqRedis, one: Claims, job: Submission) -> None:
    """A job that its worker gave back is cancelled."""
    claimed = await take(one)
    await one.nack({TENANT: list(claimed.jobs)}, counts=False)
    assert await cancel_it(redis, job) is CancelStatus.CANCELLED


async def test_a_job_that_was_replaced_since_it_was_read_stays(
    redis: ArqRedis, job: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitted again between the two round trips: the new envelope is wanted."""
    read = redis.mget

    async def read_and_replace(keys: list[str]) -> list[bytes | None]:
        payloads: list[bytes | None] = await read(keys)
        await put(redis, replace(job, sealed=job.sealed + b"later"))
        return payloads

    monkeypatch.setattr(redis, "mget", read_and_replace)
    assert await cancel_it(redis, job) is CancelStatus.NOT_QUEUED
    assert await redis.exists(keyspace.job(job.job_id))


async def test_the_job_of_another_client_stays(redis: ArqRedis, job: Submission) -> None:
    """A client cancels only jobs whose envelope names it, although it can write to the tenant's keys."""
    assert await cancel_it(redis, job, "other") is CancelStatus.FOREIGN
    assert await redis.exists(keyspace.job(job.job_id))


async def test_a_job_that_is_not_there_is_none(redis: ArqRedis) -> None:
    """A job that is not there is ``NOT_QUEUED``."""
    assert await cancel_it(redis, submission(7)) is CancelStatus.NOT_QUEUED
