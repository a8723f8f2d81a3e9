"""Connections that a peak has opened are closed again, as the server counts them."""

from __future__ import annotations

import asyncio
import types

import pytest
from redis.asyncio import Redis

from queueing.config.redis import RedisConfig
from queueing.redis.connection import connect
from queueing.redis.pool import IDLE_S, ShrinkingPool
from tests.support.redis.process import RedisProcess
from tests.support.waiting import until

PEAK = 8
NEVER_S = 60


def connected(server: RedisProcess) -> int:
    """As the server counts, without the one that asks."""
    return int(server.info("clients")["connected_clients"]) - 1


async def _wait_for_a_push(redis: Redis, key: str) -> None:
    await redis.execute_command("BLPOP", key, NEVER_S)  # type: ignore[no-untyped-call]


async def test_connections_of_a_peak_are_closed_by_the_commands_that_come_after_it(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = types.SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr("queueing.redis.pool.time", types.SimpleNamespace(monotonic=lambda: clock.now_s))
    redis = connect(RedisConfig(unix_socket=str(own_redis.socket_path)), blocking_s=NEVER_S)
    assert isinstance(redis.connection_pool, ShrinkingPool)
    try:
        async with asyncio.TaskGroup() as tasks:
            for i in range(PEAK):
                tasks.create_task(_wait_for_a_push(redis, f"nothing-{i}"))
            await asyncio.to_thread(until, lambda: blocked(own_redis) == PEAK, "all of them wait at once")
            assert connected(own_redis) == PEAK
            for i in range(PEAK):
                own_redis.command("RPUSH", f"nothing-{i}", "something")
        assert connected(own_redis) == PEAK
        clock.now_s += IDLE_S + 1
        for _ in range(PEAK):
            await redis.ping()
        await asyncio.to_thread(until, lambda: connected(own_redis) == 1, "one is left")
    finally:
        await redis.aclose()


def blocked(server: RedisProcess) -> int:
    return int(server.info("clients")["blocked_clients"])
