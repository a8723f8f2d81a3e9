"""Counters of key budgets on a real Redis: full, read-only, standing still, or with a foreign value under one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from queueing.broker.claims import ClaimedJob
from queueing.config.redis import RedisConfig
from queueing.coordination import key_usage
from queueing.coordination.key_usage import UsagePeriod
from queueing.errors import QueueUnavailable
from queueing.redis import connection
from queueing.redis.connection import connect
from tests.support.fakes.active_jobs import one_sink
from tests.support.fakes.configurations import current_config, tenant
from tests.support.redis.process import RedisProcess
from workers.active_job import ActiveJob
from workers.config.key_policy import Budget, KeyPolicy
from workers.config.tenants import TenantKey
from workers.limits.key_budgets import KeyBudgets

PERIOD_S = 86_400
NOW_MS = 1_000
HERE = UsagePeriod("acme", "release", 0, PERIOD_S)
THERE = UsagePeriod("acme", "nightly", 0, PERIOD_S)
POLICY = KeyPolicy(budget=Budget(digests=1000, period_s=PERIOD_S))
ACME = tenant(
    "acme", keys={each.key: cast("TenantKey", SimpleNamespace(policy=POLICY)) for each in (HERE, THERE)}
)
CONFIG = current_config([ACME])


@pytest.fixture
async def redis(own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ArqRedis]:
    """A pool that waits half a second for an answer."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 0.5)
    pool = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    yield pool
    await pool.aclose()


def job_for(account: UsagePeriod, digests: int) -> ActiveJob:
    job = ActiveJob(
        ClaimedJob(tenant="acme", job_id=b"id", due_ms=b"1", attempt=1, payload=b"", lease=b"w:1"), one_sink()
    )
    job.envelope = cast("Any", SimpleNamespace(key=account.key))
    job.signatures = [None] * digests
    return job


async def with_to_give_back(redis: ArqRedis, digests: int, *, counted: int) -> KeyBudgets:
    """A worker that reserved so many and signed none of them; the counter says ``counted``."""
    budgets = KeyBudgets(redis, CONFIG)
    job = job_for(HERE, digests)
    await redis.set(HERE.name, counted - digests)
    assert not await budgets.reserve([job], NOW_MS)
    budgets.settle(job)
    assert await redis.get(HERE.name) == b"%d" % counted
    return budgets


async def test_a_full_redis_does_not_lose_a_count(own_redis: RedisProcess, redis: ArqRedis) -> None:
    """INCRBY is refused and DEL is not; what it does not take back now is given back later, once."""
    budgets = await with_to_give_back(redis, 10, counted=990)
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    await budgets.return_unused()
    (error,) = (await budgets.reserve([job_for(HERE, 5)], NOW_MS)).values()
    assert "OutOfMemory" in str(error)
    assert await redis.get(HERE.name) == b"990"
    own_redis.command("CONFIG", "SET", "maxmemory", "0")
    await budgets.return_unused()
    await budgets.return_unused()
    assert await redis.get(HERE.name) == b"980"


async def test_a_replica_does_not_lose_a_count(own_redis: RedisProcess, redis: ArqRedis) -> None:
    """A demoted primary answers READONLY, and nothing is deleted on its successor for that."""
    await redis.set(HERE.name, 990)
    own_redis.command("CONFIG", "RESETSTAT")
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    (answer,) = (await key_usage.increment(redis, {HERE: 5})).values()
    assert isinstance(answer, QueueUnavailable)
    assert not answer.perhaps_done
    assert await redis.get(HERE.name) == b"990"
    assert "cmdstat_del" not in own_redis.info("commandstats")


@pytest.mark.parametrize("command", [("RPUSH",), ("SET",), ("SETRANGE", "0")])
async def test_a_foreign_value_costs_its_own_count_alone(redis: ArqRedis, command: tuple[str, ...]) -> None:
    """Its count starts again from what was to be added; the other count is increased once."""
    await redis.set(THERE.name, 100)
    await redis.execute_command(command[0], HERE.name, *command[1:], "foreign")  # type: ignore[no-untyped-call]
    assert await key_usage.increment(redis, {THERE: 7, HERE: 5}) == {THERE: 107, HERE: 5}
    assert await redis.ttl(HERE.name) > PERIOD_S


async def test_a_counter_at_its_limit_starts_again_from_zero(redis: ArqRedis) -> None:
    """No honest count comes there: it would hold up every worker's round for as long as the period lasts."""
    await redis.set(HERE.name, 2**63 - 1)
    assert await key_usage.increment(redis, {HERE: 5}) == {HERE: 5}


async def test_a_counter_that_refuses_costs_the_jobs_of_its_own_key_alone(redis: ArqRedis) -> None:
    """The other key's job is reserved, and nothing is given back of what was never counted."""
    await redis.execute_command(  # type: ignore[no-untyped-call]
        "ACL", "SETUSER", "default", "resetkeys", f"~{HERE.name}", f"%R~{THERE.name}"
    )
    budgets = KeyBudgets(redis, CONFIG)
    here, there = job_for(HERE, 5), job_for(THERE, 7)
    refused = await budgets.reserve([here, there], NOW_MS)
    assert list(refused) == [there]
    assert "NoPermission" in str(refused[there])
    budgets.settle(there)
    await budgets.return_unused()
    assert await redis.get(HERE.name) == b"5"
    budgets.settle(here)
    await budgets.return_unused()
    await budgets.return_unused()
    assert await redis.get(HERE.name) == b"0"


async def test_digests_given_back_without_an_answer_are_given_back_at_most_once(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """A decrement without an answer is not repeated, or the key would sign more than its budget."""
    budgets = await with_to_give_back(redis, 10, counted=100)
    own_redis.pause()
    await budgets.return_unused()
    own_redis.go_on()
    await budgets.return_unused()
    assert await redis.get(HERE.name) == b"90"


async def test_digests_that_redis_never_counted_are_given_back_later(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """A decrement that was never sent, since the connection was refused, is repeated."""
    budgets = await with_to_give_back(redis, 10, counted=100)
    own_redis.kill()
    with pytest.raises(RedisError):
        await redis.ping()  # now the pool knows that its connection has ended
    await budgets.return_unused()
    own_redis.start()
    await redis.set(HERE.name, 100)
    await budgets.return_unused()
    assert await redis.get(HERE.name) == b"90"


async def test_a_reservation_without_an_answer_is_counted_at_most_once(
    own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """Its job is refused with ``perhaps_done``, and the counter has its digests once."""
    await redis.set(HERE.name, 100)
    own_redis.pause()
    job = job_for(HERE, 5)
    refused = await KeyBudgets(redis, CONFIG).reserve([job], NOW_MS)
    own_redis.go_on()
    error = refused[job]
    assert isinstance(error, QueueUnavailable)
    assert error.perhaps_done
    assert await redis.get(HERE.name) == b"105"
