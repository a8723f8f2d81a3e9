"""Limits on a real Redis: rates and budgets at the claim, backlogs at the submit, and what is given back."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any, cast

import pytest
from arq.connections import ArqRedis

from bench.queue.rate_accuracy import COST, admitted
from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Claims, Commit, Retention
from queueing.broker.submissions import Receipts, Submission, SubmitStatus
from queueing.broker.submit import submit
from queueing.config.redis import RedisConfig
from queueing.coordination.backlog_caps import publish_caps
from queueing.errors import LimitBacklog, LimitBudget
from queueing.protocol import keyspace
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.jobs import JobHints, encode_job
from queueing.protocol.limits import NO_LIMITS, ClaimLimits, PublishedCaps
from queueing.protocol.priorities import Priority
from queueing.unix_time import unix_ms
from tests.support.farm import queued
from tests.support.redis.process import RedisProcess

TENANT = "acme"
ECDSA = Algorithm.ECDSA_SHA_256


@pytest.fixture
def claims(redis: ArqRedis) -> Claims:
    return Claims(redis, owner="one", lease_ms=15_000)


def submission(seed: int, digests: int = 10, priority: Priority = Priority.NORMAL) -> Submission:
    sealed = os.urandom(200 + 34 * digests)
    return replace(queued.submission(seed, digests=digests), sealed=sealed, priority=priority)


async def put(redis: ArqRedis, *jobs: Submission) -> Receipts:
    return await submit(redis, TENANT, jobs, now_ms=unix_ms())


async def take(
    claims: Claims, limits: ClaimLimits = NO_LIMITS, *, jobs: int = 100, **settled: Any
) -> ClaimResult:
    request = ClaimRequest(tenant=TENANT, most_jobs=jobs, most_digests=100_000, limits=limits, **settled)
    (answer,) = await claims.claim([request])
    assert isinstance(answer, ClaimResult), answer
    return answer


async def end(claims: Claims, *jobs: ClaimedJob) -> None:
    await claims.commit(
        {TENANT: [Commit(j.job_id, j.lease, b"r", "") for j in jobs]}, Retention(result_ms=5000)
    )


async def stock(redis: ArqRedis) -> tuple[int, int]:
    digests, size = await cast(
        "asyncio.Future[list[bytes | None]]", redis.hmget(keyspace.backlog(TENANT), ["digests", "bytes"])
    )
    return int(digests or 0), int(size or 0)


async def arrival_us(redis: ArqRedis) -> int:
    """GCRA's arrival time."""
    found = await cast("asyncio.Future[bytes | None]", redis.hget(keyspace.limiter(TENANT), "tat"))
    return int(found or 0)


def rated(rate_per_s: float, burst: float, cost: float = 1.0) -> ClaimLimits:
    return ClaimLimits(rate_per_s=rate_per_s, burst=burst, costs={ECDSA: cost})


class TestRate:
    async def test_four_claimers_together_get_the_limit(self, redis_server: RedisProcess) -> None:
        """Burst and rate over three seconds of Redis's clock, to a job of three, over all claimers.

        The bucket is full after half a minute only: nothing is lost where the machine keeps all of them waiting for less.
        """
        config = RedisConfig(unix_socket=str(redis_server.socket_path))
        found = await admitted(config, seconds=3.0, rate_per_s=300.0, burst=9000.0, digests_per_job=1)
        assert found.least - COST < found.cost < found.allowed + COST
        assert found.claims < 4 * 60 * found.seconds, "they poll"

    async def test_only_what_fits_is_taken_and_the_answer_says_when_to_come_back(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """A burst of 25 has room for two jobs of ten; the third fits fifty seconds later."""
        await put(redis, *(submission(i) for i in range(4)))
        answer = await take(claims, rated(0.1, 25))
        assert (len(answer.jobs), answer.more, answer.limited) == (2, True, "rate")
        assert answer.wait_s == pytest.approx(50, abs=0.05)
        assert not (await take(claims, rated(0.1, 25))).jobs

    async def test_costs_count_by_algorithm(self, redis: ArqRedis, claims: Claims) -> None:
        """The same burst has room for more of what costs less."""
        await put(redis, *(submission(i) for i in range(20)))
        answer = await take(claims, rated(1, 30, cost=0.15))
        assert len(answer.jobs) == 20
        assert answer.jobs[0].charged_cost == pytest.approx(1.5)

    async def test_a_job_larger_than_the_burst_is_possible(self, redis: ArqRedis, claims: Claims) -> None:
        """It needs an untouched bucket, and is paid for in full."""
        await put(redis, submission(1, 100), submission(2, 1))
        answer = await take(claims, rated(10, 5))
        assert len(answer.jobs) == 1
        assert answer.wait_s == pytest.approx(9.6, abs=0.2)

    async def test_a_job_returned_unsigned_has_its_charge_refunded(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """A drain costs the tenant nothing; a fault of the HSM, whose work may be done, does."""
        await put(redis, submission(1), submission(2))
        limits = ClaimLimits(rate_per_s=0.01, burst=20, budget_digests=1000, costs={ECDSA: 1.0})
        first = await take(claims, limits)
        assert (len(first.jobs), first.budget_left) == (2, 980)
        await claims.nack({TENANT: list(first.jobs)}, counts=False)
        again = await take(claims, limits)
        assert (len(again.jobs), again.budget_left, again.jobs[0].attempt) == (2, 980, 1)
        await claims.nack({TENANT: list(again.jobs)}, counts=True, refund=True)
        third = await take(claims, limits)
        assert (len(third.jobs), third.budget_left, third.jobs[0].attempt) == (2, 980, 2)
        await claims.nack({TENANT: list(third.jobs)}, counts=True)
        assert (await take(claims, limits)).limited == "rate"

    async def test_a_job_that_says_nothing_is_charged_by_its_size(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """A stock producer's job has at most as many digests as it has room for, of the dearest algorithm."""
        await redis.set(keyspace.job("{acme}stock"), encode_job(b"e" * (34 * 64 + 300), JobHints(), 1))
        await redis.zadd(keyspace.queue(TENANT), {"{acme}stock": 1})
        (job,) = (await take(claims, rated(1, 10_000, cost=2.0))).jobs
        assert 64 <= job.charged_digests <= 70
        assert job.charged_cost == 2.0 * job.charged_digests

    async def test_an_owed_charge_is_paid_with_the_next_claim(self, redis: ArqRedis, claims: Claims) -> None:
        """An owed charge delays the next claim, and a credit allows it."""
        await put(redis, submission(1), submission(2))
        limits = rated(0.01, 21)
        held = await take(claims, limits, owed_cost=15.0)
        assert not held.jobs
        assert len((await take(claims, limits, credit_cost=15.0, credit_at_ms=held.now_ms)).jobs) == 2

    async def test_a_credit_is_less_by_the_time_that_has_passed(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """A refused job of ten digests had filled the bucket for a minute that is over: without it the bucket
        was full.

        Given back whole, the credit would undo the charge of another job, and the limit would be exceeded.
        """
        await put(redis, submission(1))
        limits = rated(1 / 6, 10)
        charged = await take(claims, limits)
        assert len(charged.jobs) == 1
        before = await arrival_us(redis)
        for at_ms in (charged.now_ms - 60_000, charged.now_ms + 3_600_000):
            await take(claims, limits, credit_cost=10.0, credit_at_ms=at_ms)
        assert await arrival_us(redis) == before
        at_ms = charged.now_ms - 30_000
        now_ms = (await take(claims, limits, credit_cost=10.0, credit_at_ms=at_ms)).now_ms
        assert before - await arrival_us(redis) <= 30_000_000
        assert await arrival_us(redis) >= now_ms * 1000

    async def test_a_job_that_comes_back_late_has_less_refunded(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """When its charge has passed, and another job was admitted since, nothing."""
        await put(redis, submission(1), submission(2))
        limits = rated(100, 10)
        (first,) = (await take(claims, limits)).jobs
        while not (await take(claims, limits)).jobs:
            pass
        before = await arrival_us(redis)
        await claims.nack({TENANT: [first]}, counts=False)
        assert await arrival_us(redis) == before

    @pytest.mark.parametrize("damage", ["list", "words", "future", "nan"])
    async def test_a_damaged_limiter_heals(self, redis: ArqRedis, claims: Claims, damage: str) -> None:
        """Foreign types and nonsense are no limit; a time far ahead holds the tenant for a day at most."""
        key = keyspace.limiter(TENANT)
        if damage == "list":
            await cast("asyncio.Future[int]", redis.lpush(key, "x"))
        else:
            tat = {"words": "x", "future": "9" * 30, "nan": "nan"}[damage]
            await cast("asyncio.Future[int]", redis.hset(key, mapping={"tat": tat, "day": tat, "spent": tat}))
        await put(redis, submission(1))
        answer = await take(claims, rated(10, 100))
        assert len(answer.jobs) == (0 if damage == "future" else 1)
        assert answer.wait_s <= 86_400 + 1


class TestBudget:
    async def test_a_day_has_so_many_digests(self, redis: ArqRedis, claims: Claims) -> None:
        """Then claims wait for the next day, and submits are refused until it begins."""
        await publish_caps(redis, {TENANT: PublishedCaps(budget_digests=25)})
        receipts = await put(redis, *(submission(i) for i in range(3)))
        assert receipts.room.budget_digests == 25
        limits = ClaimLimits(budget_digests=25)
        answer = await take(claims, limits)
        assert (len(answer.jobs), answer.limited, answer.budget_left) == (2, "budget", 5)
        assert 0 < answer.wait_s <= 86_400
        limits = ClaimLimits(budget_digests=20)
        await publish_caps(redis, {TENANT: PublishedCaps(budget_digests=20)})
        (refused,) = await put(redis, submission(9))
        assert isinstance(refused.refusal, LimitBudget)
        assert 0 < (refused.refusal.retry_after_s or 0) <= 86_400
        assert (await take(claims, limits)).limited == "budget"


class TestBacklog:
    async def test_a_full_backlog_refuses_and_says_when_to_come_back(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """Nothing of what is refused is kept; what is done makes room."""
        await publish_caps(redis, {TENANT: PublishedCaps(backlog_digests=25)})
        receipts = await put(redis, *(submission(i) for i in range(4)))
        assert [r.accepted for r in receipts] == [SubmitStatus.ACCEPTED] * 2 + [SubmitStatus.REFUSED] * 2
        assert isinstance(receipts[3].refusal, LimitBacklog)
        assert 0.5 <= (receipts[3].refusal.retry_after_s or 0) <= 60
        assert receipts.room.backlog_digests == 5
        assert not await redis.exists(keyspace.job(submission(3).job_id))
        answer = await take(claims)
        assert answer.refused == 2
        await end(claims, *answer.jobs)
        assert [r.accepted for r in await put(redis, submission(3))] == [SubmitStatus.ACCEPTED]

    async def test_bytes_are_capped_too(self, redis: ArqRedis) -> None:
        """Submits are refused beyond the cap in bytes of the backlog."""
        await publish_caps(redis, {TENANT: PublishedCaps(backlog_bytes=2000)})
        receipts = await put(redis, *(submission(i) for i in range(5)))
        assert [r.accepted for r in receipts].count(SubmitStatus.ACCEPTED) == 3
        assert 0 <= (receipts.room.backlog_bytes or 0) < 2000

    async def test_a_job_larger_than_the_cap_needs_an_empty_backlog(self, redis: ArqRedis) -> None:
        """Into an empty backlog it is accepted, and the next job is refused."""
        await publish_caps(redis, {TENANT: PublishedCaps(backlog_digests=5)})
        receipts = await put(redis, submission(1, 100), submission(2, 1))
        assert [r.accepted for r in receipts] == [SubmitStatus.ACCEPTED, SubmitStatus.REFUSED]

    async def test_repeats_are_answered_whatever_the_backlog(self, redis: ArqRedis, claims: Claims) -> None:
        """A job that is queued or done already counts against no cap."""
        await put(redis, submission(1), submission(2))
        await end(claims, *(await take(claims, jobs=1)).jobs)
        await publish_caps(redis, {TENANT: PublishedCaps(backlog_digests=1)})
        receipts = await put(redis, submission(1), submission(2), submission(3))
        assert [r.accepted for r in receipts] == [
            SubmitStatus.DONE,
            SubmitStatus.QUEUED,
            SubmitStatus.REFUSED,
        ]

    async def test_the_counters_do_not_drift(self, redis: ArqRedis, claims: Claims) -> None:
        """Submits, repeats, claims, releases and ends: what is counted is what is there."""
        jobs = [submission(i, digests=1 + i) for i in range(30)]
        await put(redis, *jobs)
        await put(redis, *jobs)
        whole = await stock(redis)
        assert whole[0] == sum(range(1, 31))
        answer = await take(claims, jobs=20)
        assert await stock(redis) == whole
        await claims.nack({TENANT: list(answer.jobs[:10])}, counts=False)
        await claims.nack({TENANT: list(answer.jobs[10:15])}, counts=True)
        assert await stock(redis) == whole
        await end(claims, *answer.jobs[15:])
        await end(claims, *answer.jobs[15:])
        assert (await stock(redis))[0] == sum(range(1, 16)) + sum(range(21, 31))
        rest = await take(claims)
        await end(claims, *rest.jobs)
        assert await stock(redis) == (0, 0)
        assert not await redis.exists(keyspace.claims(TENANT))

    async def test_jobs_that_never_were_counted_take_nothing_away(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """A stock producer's job ends, and the counters stay what they were."""
        await put(redis, submission(1))
        whole = await stock(redis)
        await redis.set(keyspace.job("{acme}stock"), encode_job(b"e" * 300, JobHints(), 1))
        await redis.zadd(keyspace.queue(TENANT), {"{acme}stock": 1})
        (job,) = (await take(claims, jobs=1)).jobs
        assert job.job_id == b"{acme}stock"
        await end(claims, job)
        assert await stock(redis) == whole

    @pytest.mark.parametrize("value", ["x", "-5", "1e300", "nan"])
    async def test_damaged_counters_are_replaced(self, redis: ArqRedis, claims: Claims, value: str) -> None:
        """No number, a negative one, more than the queue can hold: the next submits and ends make it right."""
        await publish_caps(redis, {TENANT: PublishedCaps(backlog_digests=10_000, backlog_bytes=10**9)})
        backlog = {"digests": value, "bytes": value, "refused": value, "ended": value, "ended_ms": value}
        await cast("asyncio.Future[int]", redis.hset(keyspace.backlog(TENANT), mapping=backlog))
        assert [r.accepted for r in await put(redis, submission(1))] == [SubmitStatus.ACCEPTED]
        await end(claims, *(await take(claims)).jobs)
        assert not (await take(claims)).jobs
        await put(redis, submission(2))
        assert (await stock(redis))[0] == 10

    @pytest.mark.parametrize("key", [keyspace.backlog, keyspace.caps, keyspace.limiter])
    async def test_foreign_types_do_not_stop_a_submit_or_a_claim(
        self, redis: ArqRedis, claims: Claims, key: object
    ) -> None:
        """A foreign type under a counter, cap or limiter is removed by submit, claim and release."""
        assert callable(key)
        await redis.set(key(TENANT), "x")
        await put(redis, submission(1))
        await redis.set(key(TENANT), "x")
        answer = await take(claims, rated(10, 100))
        await redis.set(key(TENANT), "x")
        await claims.nack({TENANT: list(answer.jobs)}, counts=False)
        assert len((await take(claims, rated(10, 100))).jobs) == 1

    async def test_the_newest_of_a_backlog_far_over_its_cap_are_cut_off(
        self, redis: ArqRedis, claims: Claims
    ) -> None:
        """A writer that bypasses the submit script fills at most twice the cap: older jobs keep their turn."""
        for i in range(50):
            await redis.set(keyspace.job("{acme}" + f"{i:02}"), encode_job(b"e", JobHints(n=1), 1))
            await redis.zadd(keyspace.queue(TENANT), {"{acme}" + f"{i:02}": 1 + i})
        answer = await take(claims, ClaimLimits(backlog_digests=20), jobs=5)
        assert [j.job_id for j in answer.jobs] == [b"{acme}%02d" % i for i in range(5)]
        assert [j.job_id for j in answer.excess] == [b"{acme}%02d" % i for i in (49, 48, 47, 46, 45)]
        await end(claims, *answer.jobs, *answer.excess)
        assert not (await take(claims, ClaimLimits(backlog_digests=20), jobs=5)).excess


class TestPriority:
    async def test_a_release_overtakes_a_nightly_backlog(self, redis: ArqRedis, claims: Claims) -> None:
        """Release before normal before nightly, and each in its order."""
        order = [Priority.NIGHTLY, Priority.NORMAL, Priority.RELEASE]
        jobs = [submission(i, priority=order[i % 3]) for i in range(9)]
        await put(redis, *jobs)
        claimed = [job.job_id.decode() for job in (await take(claims)).jobs]
        by_priority = [jobs[i].job_id for kind in (2, 1, 0) for i in range(kind, 9, 3)]
        assert claimed == by_priority

    async def test_every_priority_is_due_at_once(self, redis: ArqRedis) -> None:
        """No place in the queue lies in the future, so a stock worker takes the job too."""
        await put(redis, *(submission(i, priority=p) for i, p in enumerate(Priority)))
        places = await redis.zrange(keyspace.queue(TENANT), 0, -1, withscores=True)
        assert all(due <= unix_ms() + 1 for _, due in places)
