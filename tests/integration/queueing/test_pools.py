"""What a peak has opened is closed again, as the server counts it."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from queueing.connection import connect
from queueing.pools import ShrinkingPool
from queueing.redis_config import RedisConfig
from tests.support.redis_process import RedisProcess

PEAK = 8
PEAK_S = 1


async def connections(redis: Redis) -> int:
    """What the server says; the one that asks is one of them."""
    return int((await redis.info("clients"))["connected_clients"])


async def _wait_for_nothing(redis: Redis, i: int) -> None:
    await redis.execute_command("BLPOP", f"nothing-{i}", PEAK_S)  # type: ignore[no-untyped-call]


async def test_connections_of_a_peak_are_closed_by_the_commands_that_come_after_it(
    own_redis: RedisProcess,
) -> None:
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)), blocking_s=PEAK_S)
    pool = redis.connection_pool
    assert isinstance(pool, ShrinkingPool)
    try:
        before = await connections(redis)
        async with asyncio.TaskGroup() as tasks:
            for i in range(PEAK):
                tasks.create_task(_wait_for_nothing(redis, i))
        assert await connections(redis) == before + PEAK - 1
        pool.idle_s = 0.05
        await asyncio.sleep(2 * pool.idle_s)
        counts = [await connections(redis) for _ in range(PEAK)]
        assert counts[-1] == before, counts
    finally:
        await redis.aclose()
