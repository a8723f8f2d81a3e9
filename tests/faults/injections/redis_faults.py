"""Faults of Redis: exit, freeze, cut connections, and each kind of refusal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from tests.faults.harness.redis_places import SNAPSHOTS_FAIL
from tests.support.redis.process import RedisFailed, RedisProcess

RedisFault = Callable[[RedisProcess, float], Awaitable[None]]
"""Does it for so many seconds and heals it."""

LEASE_S = 2.0
UNREPLICATED_S = 0.5
"""Shorter than any other node takes to hold a silent one to be down."""


async def _say(redis: RedisProcess, *words: str) -> None:
    await asyncio.to_thread(redis.command, *words)


async def kill(redis: RedisProcess, hold_s: float) -> None:
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(hold_s)
    await asyncio.to_thread(redis.start)


async def kill_before_its_replicas_have_all(primary: RedisProcess, replicas: Sequence[RedisProcess]) -> None:
    """SIGKILL to a primary whose last writes have reached no replica: each is stopped, and its link is cut."""
    for replica in replicas:
        replica.pause()
    await _say(primary, "CLIENT", "KILL", "TYPE", "replica")
    await asyncio.sleep(UNREPLICATED_S)
    await asyncio.to_thread(primary.kill)
    for replica in replicas:
        replica.resume()


async def restart(redis: RedisProcess, hold_s: float) -> None:
    await asyncio.to_thread(redis.stop)
    await asyncio.sleep(hold_s)
    await asyncio.to_thread(redis.start)


async def freeze(redis: RedisProcess, hold_s: float) -> None:
    redis.pause()
    await asyncio.sleep(hold_s)
    redis.resume()


async def freeze_past_leases(redis: RedisProcess, hold_s: float) -> None:
    await freeze(redis, LEASE_S * 1.5 + hold_s)


async def cut_connections(redis: RedisProcess, hold_s: float) -> None:
    """Again and again: each command in flight may have been done or not."""
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            with contextlib.suppress(RedisFailed, OSError):
                await _say(redis, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await asyncio.sleep(hold_s / 10)


async def forget_scripts(redis: RedisProcess, hold_s: float) -> None:
    for _ in range(5):
        await _say(redis, "SCRIPT", "FLUSH")
        await asyncio.sleep(hold_s / 5)


async def out_of_memory(redis: RedisProcess, hold_s: float) -> None:
    await _say(redis, "CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(hold_s)
    await _say(redis, "CONFIG", "SET", "maxmemory", "0")


async def read_only(redis: RedisProcess, hold_s: float) -> None:
    """As a primary that was made a replica: what it has is read, nothing is written."""
    await _say(redis, "REPLICAOF", "127.0.0.1", "1")
    await asyncio.sleep(hold_s)
    await _say(redis, "REPLICAOF", "NO", "ONE")


async def pause_clients(redis: RedisProcess, hold_s: float) -> None:
    await _say(redis, "CLIENT", "PAUSE", str(int(hold_s * 1000)), "ALL")
    await asyncio.sleep(hold_s)


async def busy(redis: RedisProcess, hold_s: float) -> None:
    """A script that does not end: everybody else is told BUSY."""
    await _say(redis, "CONFIG", "SET", "busy-reply-threshold", "50")
    loop = f"""
    local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
    local until_ms = now() + {int(hold_s * 1000)}
    while now() < until_ms do end
    """
    await _say(redis, "EVAL", loop, "0")
    await _say(redis, "CONFIG", "SET", "busy-reply-threshold", "5000")


async def cannot_save(redis: RedisProcess, hold_s: float) -> None:
    """MISCONF: the snapshot failed, so nothing is written any more. Wants ``SNAPSHOTS_FAIL``."""
    (redis.directory / SNAPSHOTS_FAIL["dbfilename"]).mkdir(exist_ok=True)
    await _say(redis, "CONFIG", "SET", "save", "1000000 1000000")
    await _say(redis, "BGSAVE")
    await asyncio.sleep(hold_s)
    await _say(redis, "CONFIG", "SET", "save", "")


FAULTS: dict[str, tuple[RedisFault, float]] = {
    "redis.kill": (kill, LEASE_S + 2),
    "redis.restart": (restart, LEASE_S + 2),
    "redis.freeze": (freeze, LEASE_S + 2),
    "redis.freeze-past-leases": (freeze_past_leases, LEASE_S + 2),
    "redis.cut-connections": (cut_connections, LEASE_S + 2),
    "redis.forget-scripts": (forget_scripts, 2),
    "redis.out-of-memory": (out_of_memory, LEASE_S + 2),
    "redis.read-only": (read_only, LEASE_S + 2),
    "redis.pause-clients": (pause_clients, 2),
    "redis.busy": (busy, LEASE_S + 2),
    "redis.cannot-save": (cannot_save, LEASE_S + 2),
}
"""Each with what is promised: what was claimed when Redis went away comes back when its lease ends."""
