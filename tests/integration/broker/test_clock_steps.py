"""Redis' clock is corrected after being ahead: nothing accepted, leased or charged meanwhile waits for the
step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix

from queueing.broker.claims import ClaimRequest, ClaimResult, Claims
from queueing.config.redis import RedisConfig
from queueing.coordination.worker_registry import register, registered_workers
from queueing.protocol import keyspace
from queueing.protocol.limits import ClaimLimits
from queueing.protocol.priorities import Priority
from queueing.redis.connection import connect
from tests.support.clocks.stepped_clock import SteppedClock
from tests.support.fakes.worker_reports import worker_info
from tests.support.farm.queued import LEASE_MS, QUEUE, TENANT, commit_of, publish, put, submission, take
from tests.support.redis.process import RedisProcess

STEPS_S = [20 * 60, 3600, 30 * 86_400]
LIMITS = ClaimLimits(rate_per_s=10.0, burst=20.0, costs={"ECDSA_SHA_256": 1.0})


@pytest.fixture
def clock(tmp_path: Path) -> SteppedClock:
    return SteppedClock(tmp_path)


@pytest.fixture
async def stepped(clock: SteppedClock, tmp_path: Path) -> AsyncIterator[ArqRedis]:
    """A server of this test's own, whose clock the test steps."""
    with RedisProcess(tmp_path / "redis", environment=clock.environment()) as server:
        pool = connect(RedisConfig(unix_socket=str(server.socket_path)))
        yield pool
        await pool.aclose()


def claims_of(redis: ArqRedis, owner: str) -> Claims:
    return Claims(redis, owner=owner, lease_ms=LEASE_MS)


async def take_within_limits(claims: Claims, jobs: int) -> ClaimResult:
    request = ClaimRequest(tenant=TENANT, most_jobs=jobs, most_digests=10_000, limits=LIMITS)
    (answer,) = await claims.claim([request])
    assert isinstance(answer, ClaimResult)
    return answer


async def test_the_clock_of_the_server_is_stepped(stepped: ArqRedis, clock: SteppedClock) -> None:
    """TIME follows the step, so that the other tests mean something."""
    before, _ = await stepped.time()
    clock.set_ahead_s(3600)
    after, _ = await stepped.time()
    assert 3600 <= after - before < 3660


@pytest.mark.parametrize("step_s", STEPS_S)
async def test_jobs_accepted_meanwhile_are_due_at_once(
    stepped: ArqRedis, clock: SteppedClock, step_s: int
) -> None:
    """More jobs than one claim takes, in their order; nightly, since other jobs have a head start of hours."""
    jobs = [replace(submission(i), priority=Priority.NIGHTLY) for i in range(25)]
    clock.set_ahead_s(step_s)
    await put(stepped, *jobs)
    clock.set_ahead_s(0)
    claims = claims_of(stepped, "one")
    taken = [job.job_id.decode() for _ in range(3) for job in (await take(claims, jobs=10)).jobs]
    assert taken == [job.job_id for job in jobs]


@pytest.mark.parametrize("step_s", STEPS_S)
async def test_a_lease_of_a_dead_worker_runs_out_after_lease_s(
    stepped: ArqRedis, clock: SteppedClock, step_s: int
) -> None:
    """The lease is shortened to lease_s from the next claim on, and then the job is taken over."""
    clock.set_ahead_s(step_s)
    await put(stepped, submission(1))
    assert len((await take(claims_of(stepped, "dead"))).jobs) == 1
    clock.set_ahead_s(0)
    assert not (await take(claims_of(stepped, "one"))).jobs
    (job_id,) = await stepped.zrange(QUEUE, 0, -1)
    assert 0 < await stepped.pttl(in_progress_key_prefix + job_id.decode()) <= LEASE_MS
    clock.set_ahead_s(LEASE_MS // 1000 + 1)
    (taken,) = (await take(claims_of(stepped, "one"))).jobs
    assert (taken.attempt, taken.crashes) == (2, 1)


async def test_the_lease_of_a_living_worker_is_not_taken_away(stepped: ArqRedis, clock: SteppedClock) -> None:
    """It is shortened by another worker's claim, extended by its owner, and the result is committed."""
    job = submission(1)
    clock.set_ahead_s(3600)
    await put(stepped, job)
    one, two = claims_of(stepped, "one"), claims_of(stepped, "two")
    claimed = await take(one)
    clock.set_ahead_s(0)
    assert not (await take(two)).jobs
    assert not await one.extend({TENANT: list(claimed.jobs)})
    clock.set_ahead_s(LEASE_MS // 1000 - 1)
    assert not (await take(two)).jobs
    assert await publish(one, commit_of(claimed, job)) == [1]


async def test_a_longer_lease_of_another_worker_stays(stepped: ArqRedis) -> None:
    """During a change of lease_s its owner is alive and extends as rarely as its own lease allows."""
    await put(stepped, submission(1))
    longer = Claims(stepped, owner="longer", lease_ms=LEASE_MS * 3 // 2)
    (job,) = (await take(longer)).jobs
    assert not (await take(claims_of(stepped, "one"))).jobs
    assert await stepped.pttl(in_progress_key_prefix + job.job_id.decode()) > LEASE_MS


@pytest.mark.parametrize("step_s", STEPS_S)
async def test_the_rate_of_a_tenant_holds_it_no_longer_than_without_the_step(
    stepped: ArqRedis, clock: SteppedClock, step_s: int
) -> None:
    """The bucket is as full as it was: neither is the tenant held for the step, nor is the burst given again."""
    clock.set_ahead_s(step_s)
    await put(stepped, *(submission(i, digests=10) for i in range(4)))
    assert len((await take_within_limits(claims_of(stepped, "one"), 10)).jobs) == 2
    clock.set_ahead_s(0)
    answer = await take_within_limits(claims_of(stepped, "one"), 10)
    assert (len(answer.jobs), answer.limited) == (0, "rate")
    assert answer.wait_s <= 1.0
    clock.set_ahead_s(2)
    assert len((await take_within_limits(claims_of(stepped, "one"), 10)).jobs) == 2


async def test_an_arrival_time_without_its_date_is_bounded(stepped: ArqRedis) -> None:
    """As a worker of an earlier version wrote it: held for a burst and one largest job, not for the step."""
    seconds, _ = await stepped.time()
    await cast("Any", stepped).hset(keyspace.limiter(TENANT), "tat", (seconds + 86_400) * 1_000_000)
    await put(stepped, submission(1, digests=10))
    answer = await take_within_limits(claims_of(stepped, "one"), 10)
    assert answer.limited == "rate"
    assert answer.wait_s <= (20 + 1024) / 10


async def test_a_job_that_a_stock_producer_deferred_keeps_its_time(stepped: ArqRedis) -> None:
    """A date of its own, however many of them there are, and jobs of ours behind them are found."""
    job = submission(1)
    seconds, _ = await stepped.time()
    await put(stepped, job)
    deferred = {f"{{{TENANT}}}deferred-{i}": float((seconds + 3600 + i) * 1000) for i in range(50)}
    await stepped.zadd(QUEUE, {**deferred, job.job_id: float((seconds + 7200) * 1000)})
    for _ in range(500):
        answer = await take(claims_of(stepped, "one"), jobs=10)
        if answer.jobs:
            assert [each.job_id.decode() for each in answer.jobs] == [job.job_id]
            break
    else:
        pytest.fail("the job behind the deferred ones was not found")
    assert (
        dict(await stepped.zrange(QUEUE, 0, -1, withscores=True)).items()
        >= {name.encode(): score for name, score in deferred.items()}.items()
    )


async def test_a_dead_worker_does_not_look_alive_until_the_clock_is_there_again(
    stepped: ArqRedis, clock: SteppedClock
) -> None:
    """The next report of any worker dates it to now, and from then on it is silent."""
    clock.set_ahead_s(3600)
    await register(stepped, worker_info("dead"))
    clock.set_ahead_s(0)
    await register(stepped, worker_info("one"))
    clock.set_ahead_s(60)
    assert [each.alive for each in await registered_workers(stepped)] == [False, False]


async def test_no_fence_is_given_out_twice_whatever_the_clock_does(
    stepped: ArqRedis, clock: SteppedClock
) -> None:
    """Two claims within one microsecond, one after the clock was set back, and one when it is set back onto a fence."""
    seconds, _ = await stepped.time()
    base_us = seconds * 1_000_000
    await put(stepped, *(submission(i) for i in range(8)))
    fences = []
    for at_us in (
        base_us,
        base_us,
        base_us - 600_000_000,
        base_us + 2,
        base_us + 3,
        base_us + 4,
        base_us + 9,
    ):
        clock.stop_at_us(at_us)
        (job,) = (await take(claims_of(stepped, "one"), jobs=1)).jobs
        fences.append(int(job.lease.rpartition(b":")[2]) - base_us)
    assert fences == [0, 1, 2, 3, 4, 5, 9]
