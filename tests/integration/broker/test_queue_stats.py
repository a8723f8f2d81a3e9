"""Queue statistics of a real Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest
from arq.connections import ArqRedis

from queueing.broker.queue_stats import QueueState, read_queue_stats, redis_state
from queueing.config.redis import RedisConfig
from queueing.coordination.backlog_caps import publish_caps
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobHints, encode_job
from queueing.protocol.limits import PublishedCaps
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms
from tests.support.farm import queued
from tests.support.farm.farm import Farm, digests


async def put(redis: ArqRedis, key: str, **fields: int | str) -> None:
    """Set fields of a hash."""
    await redis.hset(key, mapping=dict(fields))  # type: ignore[misc]  # redis-py types it for both its clients


async def test_an_empty_queue_tells_nothing(redis: ArqRedis) -> None:
    """An empty queue and an unknown tenant have the default values."""
    assert await read_queue_stats(redis, ["acme", "globex"]) == {"acme": QueueState(), "globex": QueueState()}
    assert await read_queue_stats(redis, []) == {}


async def test_the_age_is_that_of_the_submit_whatever_the_priority(redis: ArqRedis) -> None:
    """A job's place lies up to three hours in the past, a leased job's in the future."""
    now_ms = unix_ms()
    for name, age_ms in (("first", 40_000), ("second", 90_000), ("leased", 200_000)):
        await redis.set(keyspace.job(name), encode_job(b"sealed", JobHints(n=1), now_ms - age_ms))
    places = {"first": now_ms - 3 * 3600_000, "second": now_ms - 95_000, "leased": now_ms + 15_000}
    await redis.zadd(keyspace.queue("acme"), places)
    state = (await read_queue_stats(redis, ["globex", "acme"]))["acme"]
    assert (state.ready, state.leased) == (2, 1)
    assert 39 < state.age_s < 60


async def test_submitted_digests_and_refused_jobs_are_counted(farm: Farm, redis: ArqRedis) -> None:
    """The submit script counts accepted digests and refused jobs, also of jobs that have ended."""
    async with farm.client() as client:
        assert [s async for s in client.sign_many("release", digests(70), timeout_s=60)]
    await farm.responder.pause()
    await publish_caps(redis, {"acme": PublishedCaps(backlog_digests=1)})
    await queued.put(redis, *(queued.submission(seed, digests=2) for seed in range(3)))
    state = (await read_queue_stats(redis, ["acme"]))["acme"]
    assert (state.accepted_digests, state.refused) == (72, 2)


async def test_caps_budget_and_dead_letters_are_read(redis: ArqRedis) -> None:
    """Caps, today's spending and the number of dead letters are read; yesterday's spending is 0."""
    today = int(time.time() // 86400)
    await put(redis, keyspace.caps("acme"), digests=5, bytes=0, budget=9)
    await put(redis, keyspace.limiter("acme"), day=today, spent=4)
    await put(redis, keyspace.dead_letters("acme"), a=1, b=2)
    state = (await read_queue_stats(redis, ["acme"]))["acme"]
    assert (state.caps, state.spent, state.dead) == ((5, 0, 9), 4, 2)
    await put(redis, keyspace.limiter("acme"), day=today - 1)
    assert (await read_queue_stats(redis, ["acme"]))["acme"].spent == 0


@pytest.mark.parametrize("name", ["queue", "backlog", "caps", "limiter", "dead_letters"])
async def test_nonsense_under_a_key_is_nothing(redis: ArqRedis, name: str) -> None:
    """A foreign type, or a field that is no number, harms neither this tenant's other gauges nor another
    tenant's.
    """
    where: Any = getattr(keyspace, name)
    await redis.set(where("acme"), "nonsense")
    await put(redis, keyspace.dead_letters("globex"), a=1)
    states = await read_queue_stats(redis, ["acme", "globex"])
    assert states["acme"] == QueueState()
    assert states["globex"].dead == 1
    await redis.delete(where("acme"))
    if name != "queue":
        await put(redis, where("acme"), digests="x", accepted="-3", refused="", spent="y")
        assert (await read_queue_stats(redis, ["acme"]))["acme"].digests == 0


async def test_a_job_that_is_none_has_no_age(redis: ArqRedis) -> None:
    """A queued id without a payload, or with one that is no job, has the age 0."""
    await redis.zadd(keyspace.queue("acme"), {"gone": 1})
    assert (await read_queue_stats(redis, ["acme"]))["acme"].age_s == 0
    await redis.set(keyspace.job("gone"), "no msgpack")
    state = (await read_queue_stats(redis, ["acme"]))["acme"]
    assert (state.ready, state.age_s) == (1, 0)


async def test_a_thousand_tenants_are_all_seen(redis: ArqRedis) -> None:
    """A thousand tenants are read, in the order of their names given."""
    names = [f"t{i}" for i in range(1000)]
    await redis.zadd(keyspace.queue("t999"), {"job": 1})
    states = await read_queue_stats(redis, names)
    assert list(states) == names
    assert states["t999"].ready == 1


async def test_redis_tells_its_memory_and_who_it_is(redis: ArqRedis) -> None:
    """Redis' used memory is above 0, and its run id stays."""
    first, second = await redis_state(redis), await redis_state(redis)
    assert first.memory_used_bytes > 0
    assert first.run_id == second.run_id


async def test_no_redis_is_an_error_of_ours() -> None:
    """A Redis that is away is a retryable ``QueueUnavailable``."""
    nowhere = connect(RedisConfig(unix_socket="/nonexistent/redis.sock"))
    for asking in (read_queue_stats(nowhere, ["acme"]), redis_state(nowhere)):
        with pytest.raises(QueueUnavailable) as caught:
            await asking
        assert caught.value.retryable
    await nowhere.aclose()
