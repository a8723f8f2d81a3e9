"""Dead letters: written with the result, listed, tried again, dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from arq.connections import ArqRedis

from queueing.broker import dead_letters
from queueing.broker.claims import ClaimResult, Claims, CommitStatus
from queueing.broker.dead_letters import DeadLetter, RequeueStatus, StoredLetter, encode_letter, letters_of
from queueing.broker.submissions import Submission, SubmitStatus
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobHints, encode_job
from tests.support.farm.queued import QUEUE, TENANT, commit_of, publish, put, submission, take


def letter_of(claimed: ClaimResult, **changes: object) -> DeadLetter:
    (job,) = claimed.jobs
    assert job.payload is not None
    fields = {
        "reason": "job.poisoned",
        "message": "it broke",
        "at_ms": claimed.now_ms,
        "worker": "one",
        "attempts": job.attempt,
        "crashes": job.crashes,
        "lane_ends": ("exit_5",) * 3,
        "digests": 1,
        "payload": job.payload,
        **changes,
    }
    return DeadLetter(**fields)  # type: ignore[arg-type]


async def bury(redis: ArqRedis, one: Claims, job: Submission, **changes: object) -> DeadLetter:
    """Commit the job as failed, with its dead letter."""
    await put(redis, job)
    claimed = await take(one)
    letter = letter_of(claimed, **changes)
    commit = replace(commit_of(claimed, job), dead_letter=encode_letter(letter))
    assert await publish(one, commit) == [CommitStatus.COMMITTED]
    return letter


async def only_letter(redis: ArqRedis) -> StoredLetter:
    (found,) = await letters_of(redis, [TENANT])
    return found


async def test_a_dead_letter_is_kept_with_its_evidence(redis: ArqRedis, one: Claims) -> None:
    """Under the job's id, whole; the job itself is gone from the queue."""
    job = submission(1)
    letter = await bury(redis, one, job)
    found = await only_letter(redis)
    assert (found.tenant, found.job_id.decode(), found.letter) == (TENANT, job.job_id, letter)
    assert not await redis.zcard(QUEUE)


async def test_a_fenced_commit_leaves_none(redis: ArqRedis, one: Claims) -> None:
    """Another owner has the job, and it may yet be signed."""
    job = submission(1)
    await put(redis, job)
    claimed = await take(one)
    await one.nack({TENANT: list(claimed.jobs)}, counts=True)
    commit = replace(commit_of(claimed, job), dead_letter=encode_letter(letter_of(claimed)))
    assert await publish(one, commit) == [CommitStatus.FENCED]
    assert not await letters_of(redis, [TENANT])


async def test_one_that_is_tried_again_is_a_new_job(redis: ArqRedis, one: Claims) -> None:
    """Queued with its counters at 0 and without a result; the letter is gone, and a second requeue finds
    none.
    """
    job = submission(1)
    letter = await bury(redis, one, job)
    found = await only_letter(redis)
    assert await dead_letters.requeue(redis, [found]) == [RequeueStatus.QUEUED]
    assert not await redis.exists(keyspace.result(job.job_id))
    (again,) = (await take(one)).jobs
    assert (again.payload, again.attempt, again.crashes) == (letter.payload, 1, 0)
    assert await dead_letters.requeue(redis, [found]) == [RequeueStatus.GONE]


async def test_one_whose_client_asked_again_is_not_put_in_twice(redis: ArqRedis, one: Claims) -> None:
    """The result's retention was over, and the same job came again."""
    job = submission(1)
    await bury(redis, one, job)
    await redis.delete(keyspace.result(job.job_id))
    assert (await put(redis, job))[0].accepted is SubmitStatus.ACCEPTED
    assert await dead_letters.requeue(redis, [await only_letter(redis)]) == [RequeueStatus.ALREADY_QUEUED]
    assert len((await take(one)).jobs) == 1
    assert not await letters_of(redis, [TENANT])


async def test_one_whose_job_came_to_a_result_after_all_is_gone(redis: ArqRedis, one: Claims) -> None:
    """A later commit of the job removes its dead letter: a requeue would sign the digests twice."""
    job = submission(1)
    await bury(redis, one, job)
    await redis.delete(keyspace.result(job.job_id))
    await put(redis, job)
    assert await publish(one, commit_of(await take(one), job)) == [CommitStatus.COMMITTED]
    assert not await letters_of(redis, [TENANT])
    assert await redis.exists(keyspace.result(job.job_id))


async def test_a_worker_that_waits_is_rung(redis: ArqRedis, one: Claims) -> None:
    """The requeue rings the tenant's doorbell, as a submit does."""
    await bury(redis, one, submission(1))
    assert not (await take(one)).jobs
    async with redis.pubsub() as bell:
        await bell.subscribe(keyspace.doorbell(TENANT))
        await bell.get_message(timeout=60)
        await dead_letters.requeue(redis, [await only_letter(redis)])
        rung = await bell.get_message(timeout=60)
    assert rung is not None
    assert rung["data"] == TENANT.encode()


async def test_one_that_is_dropped_keeps_its_result(redis: ArqRedis, one: Claims) -> None:
    """Dropping a dead letter removes it, and its result stays."""
    job = submission(1)
    await bury(redis, one, job)
    assert await dead_letters.drop(redis, [await only_letter(redis)]) == [True]
    assert not await letters_of(redis, [TENANT])
    assert await redis.exists(keyspace.result(job.job_id))


async def test_letters_are_listed_oldest_first(redis: ArqRedis, one: Claims) -> None:
    """Dead letters are listed by their time, the oldest first."""
    for seed in (3, 1, 2):
        await bury(redis, one, submission(seed), at_ms=seed)
    assert [found.letter.at_ms for found in await letters_of(redis, ["other", TENANT])] == [1, 2, 3]


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x80", encode_job(b"s", JobHints(), 1)])
async def test_a_value_that_is_no_dead_letter_is_left_out(redis: ArqRedis, one: Claims, raw: bytes) -> None:
    """The dead letters beside it are listed."""
    await bury(redis, one, submission(1))
    await redis.hset(keyspace.dead_letters(TENANT), "planted", cast("str", raw))  # type: ignore[misc]
    assert (await only_letter(redis)).job_id.decode() == submission(1).job_id


async def test_a_foreign_type_there_holds_back_no_result(redis: ArqRedis, one: Claims) -> None:
    """The result is committed, and no dead letter is listed."""
    await redis.set(keyspace.dead_letters(TENANT), "x")
    await bury(redis, one, submission(1))
    assert not await letters_of(redis, [TENANT])
