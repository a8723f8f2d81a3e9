"""Values of megabytes where the scripts look for a number: Redis runs nothing else while it copies one, for no tenant."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

import pytest
from arq.connections import ArqRedis

from queueing.broker.claims import Claims, CommitStatus
from queueing.broker.submissions import SubmitStatus
from queueing.protocol import keyspace
from tests.support.farm.queued import QUEUE, TENANT, commit_of, publish, put, submission, take

BACKLOG = keyspace.backlog(TENANT)
CLAIMS = keyspace.claims(TENANT)
LONG = "9" * 4096


async def plant(redis: ArqRedis, key: str, field: str, value: str) -> None:
    await cast("Awaitable[int]", redis.hset(key, field, value))


async def stored_bytes(redis: ArqRedis, key: str, field: str) -> int:
    """Length of a field; 0 where there is none."""
    return await cast("Awaitable[int]", redis.hstrlen(key, field))


@pytest.mark.parametrize("field", ["digests", "bytes", "refused", "accepted"])
async def test_a_counter_longer_than_any_number_is_removed_by_the_claim(
    redis: ArqRedis, one: Claims, field: str
) -> None:
    """It counts as 0, and no later claim, nor the exporter, meets it again."""
    await put(redis, submission(1))
    await plant(redis, BACKLOG, field, LONG)
    claimed = await take(one)
    assert len(claimed.jobs) == 1
    assert await stored_bytes(redis, BACKLOG, field) == 0
    counted = {"digests": claimed.backlog_digests, "bytes": claimed.backlog_bytes, "refused": claimed.refused}
    assert counted.get(field, 0) == 0


async def test_a_submit_removes_a_counter_longer_than_any_number(redis: ArqRedis) -> None:
    """By the rights of a tenant's own user: `ended` is read by submits alone."""
    await plant(redis, BACKLOG, "ended", LONG)
    assert [r.accepted for r in await put(redis, submission(1))] == [SubmitStatus.ACCEPTED]
    assert await stored_bytes(redis, BACKLOG, "ended") == 0


async def test_a_history_longer_than_any_is_none(redis: ArqRedis, one: Claims) -> None:
    """The job is claimed as for the first time, and its history is one of ours again."""
    await put(redis, submission(1))
    await plant(redis, CLAIMS, submission(1).job_id, f"7:0:1:1:0:{LONG}")
    (job,) = (await take(one)).jobs
    assert (job.attempt, job.crashes) == (1, 0)
    assert 0 < await stored_bytes(redis, CLAIMS, submission(1).job_id) < 100


async def test_an_owner_is_not_read_from_a_history_longer_than_any(redis: ArqRedis, one: Claims) -> None:
    """Once the lease has run out, only a history of ours says who claimed the job last."""
    job = submission(1)
    await put(redis, job)
    claimed = await take(one)
    (leased,) = claimed.jobs
    await redis.delete(f"{keyspace.IN_PROGRESS_PREFIX}{job.job_id}")
    fence = leased.lease.decode().rpartition(":")[2]
    await plant(redis, CLAIMS, job.job_id, f"1:{fence}:1:1:0:{LONG}")
    assert await one.extend({TENANT: [leased]}) == [leased]
    assert await publish(one, commit_of(claimed, job)) == [CommitStatus.FENCED]


async def test_an_id_longer_than_any_is_removed_wherever_it_is_in_the_queue(
    redis: ArqRedis, one: Claims
) -> None:
    """Also with a date that it never reaches: each claim looks at such jobs, in case the clock was set back."""
    await redis.zadd(QUEUE, {f"{{{TENANT}}}{LONG}": 2.0**52})
    assert (await take(one)).replaced == 1
    assert await redis.zcard(QUEUE) == 0
