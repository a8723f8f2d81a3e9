"""Extending leases on a real Redis: by their owner alone, as long as no other one has claimed the job."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import ClaimedJob, Claims
from queueing.protocol import keyspace
from tests.support.farm.queued import QUEUE, TENANT, put, submission, take

JOB = submission(1)
LEASE = keyspace.IN_PROGRESS_PREFIX + JOB.job_id


@pytest.fixture
async def claimed(redis: ArqRedis, one: Claims) -> ClaimedJob:
    """A job that `one` has."""
    await put(redis, JOB)
    (job,) = (await take(one)).jobs
    return job


async def run_out(redis: ArqRedis) -> None:
    """The lease is over, and the job is due."""
    await redis.delete(LEASE)
    await redis.zadd(QUEUE, {JOB.job_id: 1})


async def test_an_owner_extends_its_lease(redis: ArqRedis, one: Claims, claimed: ClaimedJob) -> None:
    """The lease is longer, and the job's place in the queue is at its end."""
    await redis.pexpire(LEASE, 5_000)
    before_ms = await redis.zscore(QUEUE, JOB.job_id)
    await redis.zadd(QUEUE, {JOB.job_id: 1})
    assert await one.extend({TENANT: [claimed]}) == []
    assert await redis.pttl(LEASE) > 5_000
    assert await redis.zscore(QUEUE, JOB.job_id) >= before_ms


async def test_a_lease_that_ran_out_is_extended_while_no_other_worker_has_the_job(
    redis: ArqRedis, one: Claims, claimed: ClaimedJob
) -> None:
    """Its owner, whose fence is the last one, gets the lease again."""
    await run_out(redis)
    assert await one.extend({TENANT: [claimed]}) == []
    assert await redis.get(LEASE) == claimed.lease


async def test_a_late_owner_does_not_extend_the_lease_of_another(
    redis: ArqRedis, one: Claims, two: Claims, claimed: ClaimedJob
) -> None:
    """A late owner is told that it lost the job, and the other one's lease stays."""
    await run_out(redis)
    (later,) = (await take(two)).jobs
    assert await one.extend({TENANT: [claimed]}) == [claimed]
    assert await redis.get(LEASE) == later.lease


async def test_an_older_fence_is_not_extended(
    redis: ArqRedis, one: Claims, two: Claims, claimed: ClaimedJob
) -> None:
    """Another one had the job since, and its lease ran out, too."""
    await run_out(redis)
    (later,) = (await take(two)).jobs
    await run_out(redis)
    assert await one.extend({TENANT: [claimed]}) == [claimed]
    assert not await redis.exists(LEASE)
    assert await two.extend({TENANT: [later]}) == []


async def test_what_was_given_back_is_not_extended(redis: ArqRedis, one: Claims, claimed: ClaimedJob) -> None:
    """The worker is told that it lost the job."""
    await one.nack({TENANT: [claimed]}, counts=False)
    assert await one.extend({TENANT: [claimed]}) == [claimed]
