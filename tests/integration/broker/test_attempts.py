"""Attempts by retry, by crash and by drain are counted apart, and suspects are claimed alone."""

from __future__ import annotations

import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Claims, CommitStatus
from queueing.protocol import keyspace
from tests.support.farm.queued import TENANT, commit_of, publish, put, submission, take

SUSPECT_AT = 2


@pytest.fixture
def hasty(redis: ArqRedis) -> Claims:
    """A worker that dies at once: its leases last a millisecond."""
    return Claims(redis, owner="hasty", lease_ms=1)


async def crash(hasty: Claims, times: int) -> ClaimedJob:
    """So many claims, each after the lease of the one before has run out; the last of them."""
    seen: list[ClaimedJob] = []
    while len(seen) < times:
        seen += (await take(hasty)).jobs
    return seen[-1]


async def lease_over(redis: ArqRedis, job_id: str) -> None:
    """A millisecond, and the job is the first that is due."""
    while await redis.exists(keyspace.IN_PROGRESS_PREFIX + job_id):
        pass
    await redis.zadd(keyspace.queue(TENANT), {job_id: 1})


async def take_with_care(claims: Claims, *, alone: bool, jobs: int = 10) -> ClaimResult:
    """A claim of a worker that isolates suspects."""
    request = ClaimRequest(
        tenant=TENANT, most_jobs=jobs, most_digests=10_000, suspect_at=SUSPECT_AT, alone=alone
    )
    (claimed,) = await claims.claim([request])
    assert isinstance(claimed, ClaimResult), claimed
    return claimed


async def until_free(claims: Claims, *, alone: bool) -> ClaimResult:
    """The first claim that finds something: a lease of a millisecond is over by then."""
    while True:
        claimed = await take_with_care(claims, alone=alone)
        if claimed.jobs or claimed.suspect_next:
            return claimed


async def test_a_lease_that_ran_out_is_a_crash(redis: ArqRedis, hasty: Claims) -> None:
    """The first claim counts no crash, and each claim after a lease that ran out counts one."""
    await put(redis, submission(1))
    assert (await crash(hasty, 1)).crashes == 0
    assert (await crash(hasty, 1)).crashes == 1
    last = await crash(hasty, 1)
    assert (last.attempt, last.crashes) == (3, 2)


async def test_a_retry_is_no_crash(redis: ArqRedis, one: Claims) -> None:
    """The HSM failed over it, and it was given back: an attempt, by an owner that lives."""
    await put(redis, submission(1))
    for attempt in (1, 2, 3):
        (job,) = (await take(one)).jobs
        assert (job.attempt, job.crashes) == (attempt, 0)
        await one.nack({TENANT: [job]}, counts=True)


async def test_a_drain_is_neither(redis: ArqRedis, one: Claims) -> None:
    """After twenty drains it is still the first attempt, without a crash."""
    await put(redis, submission(1))
    for _ in range(20):
        (job,) = (await take(one)).jobs
        assert (job.attempt, job.crashes) == (1, 0)
        await one.nack({TENANT: [job]}, counts=False)


async def test_crashes_stay_when_the_job_is_given_back(redis: ArqRedis, one: Claims, hasty: Claims) -> None:
    """A worker that drains while it has the job does not clear its crashes."""
    await put(redis, submission(1))
    await crash(hasty, 1)
    (job,) = (await until_free(one, alone=True)).jobs
    assert job.crashes == 1
    await one.nack({TENANT: [job]}, counts=False)
    assert (await take(one)).jobs[0].crashes == 1


async def test_a_lease_that_ran_out_can_still_be_given_back(
    redis: ArqRedis, one: Claims, hasty: Claims
) -> None:
    """Its last owner gives it back while no other worker has claimed it, and no crash is counted."""
    await put(redis, submission(1))
    late = await crash(hasty, 1)
    await lease_over(redis, submission(1).job_id)
    await hasty.nack({TENANT: [late]}, counts=False)
    assert (await take(one)).jobs[0].crashes == 0


async def test_a_job_given_back_cannot_be_published_by_its_old_worker(redis: ArqRedis, one: Claims) -> None:
    """Its commit is fenced, whether or not the attempt counts."""
    for seed, counts in enumerate((True, False)):
        await put(redis, submission(seed))
        claimed = await take(one)
        await one.nack({TENANT: list(claimed.jobs)}, counts=counts)
        assert await publish(one, commit_of(claimed, submission(seed))) == [CommitStatus.FENCED]
        (job,) = (await take(one)).jobs
        await one.nack({TENANT: [job]}, counts=False, delay_ms=60_000)


async def test_a_suspect_is_claimed_alone(redis: ArqRedis, one: Claims, hasty: Claims) -> None:
    """With no other job of its tenant; the others are given by the next claim."""
    await put(redis, submission(1))
    await crash(hasty, SUSPECT_AT)
    await lease_over(redis, submission(1).job_id)
    await put(redis, submission(2), submission(3))
    claimed = await take_with_care(one, alone=True)
    (job,) = claimed.jobs
    assert (job.job_id.decode(), job.alone, job.crashes) == (submission(1).job_id, True, SUSPECT_AT)
    assert claimed.more
    rest = await take_with_care(one, alone=False)
    assert [job.alone for job in rest.jobs] == [False, False]


async def test_a_suspect_waits_for_a_worker_that_has_nothing_of_its_tenant(
    redis: ArqRedis, one: Claims, hasty: Claims
) -> None:
    """The claim returns no job, and says that a suspect is next."""
    await put(redis, submission(1))
    await crash(hasty, SUSPECT_AT)
    claimed = await until_free(one, alone=False)
    assert (claimed.jobs, claimed.suspect_next, claimed.more) == ((), True, True)


async def test_those_before_a_suspect_are_taken_without_it(
    redis: ArqRedis, one: Claims, hasty: Claims
) -> None:
    """The claim ends before the suspect, and says that it is next."""
    await put(redis, submission(1))
    await crash(hasty, SUSPECT_AT)
    await put(redis, submission(2))
    await lease_over(redis, submission(1).job_id)
    await redis.zadd(keyspace.queue(TENANT), {submission(2).job_id: 1, submission(1).job_id: 2})
    claimed = await take_with_care(one, alone=True)
    assert [job.job_id.decode() for job in claimed.jobs] == [submission(2).job_id]
    assert claimed.suspect_next


async def test_an_entry_of_an_older_version_is_understood(redis: ArqRedis, one: Claims) -> None:
    """Workers of two versions share a queue during an upgrade: what knows no crashes has none."""
    job = submission(1)
    await put(redis, job)
    await redis.hset(keyspace.claims(TENANT), job.job_id, "2:0:1:400:0")  # type: ignore[misc]
    (claimed,) = (await take(one)).jobs
    assert (claimed.attempt, claimed.crashes) == (3, 0)
