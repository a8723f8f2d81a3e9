"""The claim that arms a tenant's doorbell, on a real Redis: one that leaves nothing that is due to be claimed."""

from __future__ import annotations

from arq.connections import ArqRedis

from queueing.broker.claims import ClaimRequest, ClaimResult, Claims
from queueing.protocol import keyspace
from queueing.unix_time import unix_ms
from tests.support.farm.queued import TENANT, put, submission


async def claim(
    redis: ArqRedis, claims: Claims, *, alone: bool, jobs: int = 10, suspect_at: int = 0
) -> tuple[ClaimResult, bool]:
    """The claim's result, and whether the doorbell is armed after it."""
    request = ClaimRequest(
        tenant=TENANT, most_jobs=jobs, most_digests=10_000, alone=alone, suspect_at=suspect_at
    )
    (claimed,) = await claims.claim([request])
    assert isinstance(claimed, ClaimResult), claimed
    return claimed, bool(await redis.exists(keyspace.armed(TENANT)))


async def test_a_worker_without_other_jobs_that_takes_all_is_rung_for_the_next(
    redis: ArqRedis, one: Claims
) -> None:
    """It needs no second claim to find that there is nothing more; the next submit rings once."""
    await put(redis, submission(1))
    claimed, armed = await claim(redis, one, alone=True)
    assert (len(claimed.jobs), claimed.more, claimed.armed, armed) == (1, False, True, True)
    async with redis.pubsub() as bell:
        await bell.subscribe(keyspace.doorbell(TENANT))
        await bell.get_message(timeout=5.0)
        await put(redis, submission(2))
        await put(redis, submission(3))
        await redis.publish(keyspace.doorbell(TENANT), "end")
        heard: list[bytes] = []
        while not heard or heard[-1] != b"end":
            message = await bell.get_message(ignore_subscribe_messages=True, timeout=5.0)
            assert message is not None
            heard.append(message["data"])
    assert heard == [TENANT.encode(), b"end"]


async def test_a_busy_worker_is_not_rung_for_each_job(redis: ArqRedis, one: Claims) -> None:
    """It claims again in milliseconds; the claim that finds nothing arms the doorbell."""
    await put(redis, submission(1))
    claimed, armed = await claim(redis, one, alone=False)
    assert (len(claimed.jobs), claimed.armed, armed) == (1, False, False)
    claimed, armed = await claim(redis, one, alone=False)
    assert (claimed.jobs, claimed.armed, armed) == ((), True, True)


async def test_a_claim_that_leaves_a_job_does_not_arm_the_doorbell(redis: ArqRedis, one: Claims) -> None:
    """By the number of jobs; the next claim takes the rest, and arms it."""
    await put(redis, *(submission(i) for i in range(3)))
    claimed, armed = await claim(redis, one, alone=True, jobs=2)
    assert (len(claimed.jobs), claimed.more, claimed.armed, armed) == (2, True, False, False)
    claimed, armed = await claim(redis, one, alone=True, jobs=2)
    assert (len(claimed.jobs), claimed.more, claimed.armed, armed) == (1, False, True, True)


async def test_a_claim_that_looked_at_a_part_of_what_is_due_does_not_arm_the_doorbell(
    redis: ArqRedis, one: Claims
) -> None:
    """Its part were a job and others that stock workers hold; what is behind them is due."""
    jobs = [submission(i) for i in range(4)]
    await put(redis, *jobs)
    for held in jobs[1:3]:
        await redis.set(keyspace.IN_PROGRESS_PREFIX + held.job_id, b"1", px=60_000)
    claimed, armed = await claim(redis, one, alone=True, jobs=2)
    assert (len(claimed.jobs), claimed.more, claimed.armed, armed) == (1, True, False, False)


async def test_a_claim_of_a_suspect_does_not_arm_the_doorbell(redis: ArqRedis, one: Claims) -> None:
    """What is behind it waits until the suspect is finished."""
    hasty = Claims(redis, owner="hasty", lease_ms=1)
    job = submission(1)
    await put(redis, job)
    (claimed,) = await hasty.claim([ClaimRequest(tenant=TENANT, most_jobs=1, most_digests=10)])
    assert isinstance(claimed, ClaimResult)
    while await redis.exists(keyspace.IN_PROGRESS_PREFIX + job.job_id):
        pass
    await redis.zadd(keyspace.queue(TENANT), {job.job_id: 1})
    await redis.delete(keyspace.armed(TENANT))
    claimed, armed = await claim(redis, one, alone=True, suspect_at=1)
    assert (claimed.jobs[0].alone, claimed.more, claimed.armed, armed) == (True, True, False, False)


async def test_jobs_far_ahead_in_the_queue_are_looked_at_again(redis: ArqRedis, one: Claims) -> None:
    """After a step of the clock some are pulled back by each claim: while there are some, a claim that took a job arms nothing."""
    await put(redis, submission(1))
    await redis.zadd(keyspace.queue(TENANT), {f"{{{TENANT}}}deferred": unix_ms() + 3_600_000})
    claimed, armed = await claim(redis, one, alone=True)
    assert (len(claimed.jobs), claimed.armed, armed) == (1, False, False)
    claimed, armed = await claim(redis, one, alone=True)
    assert (claimed.jobs, claimed.armed, armed) == ((), True, True)
