"""``sigmill workers list`` beside running workers."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from queueing.protocol import keyspace
from queueing.unix_time import unix_ms
from tests.support.farm.farm import digests
from tests.support.rig.operator import set_worker_user
from tests.support.rig.rig import MakeRig, Rig
from tests.support.sigmill_cli import sigmill
from tests.support.waiting import PATIENCE_S, until_async


async def listed(rig: Rig) -> tuple[int, dict[int, dict[str, Any]]]:
    ran = await asyncio.to_thread(
        sigmill, "workers", "list", "--json", "--config", rig.directory / "sigmill-1.toml"
    )
    return ran.code, {line["pid"]: line for line in ran.json()}


async def listed_when(rig: Rig, pids: set[int]) -> tuple[int, dict[int, dict[str, Any]]]:
    """Exit code and lines once these workers are listed: a worker registers beside its first claim."""
    async with asyncio.timeout(PATIENCE_S):
        while set((found := await listed(rig))[1]) != pids:  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.1)
    return found


async def test_every_worker_is_listed_until_it_ends_in_order(make_rig: MakeRig) -> None:
    """With the rights of a worker's user; one that was killed is silent, one that ended is gone."""
    rig = make_rig()
    redis = rig.connect()
    await set_worker_user(rig, redis)
    first, second = rig.start_worker(1), rig.start_worker(2)
    async with rig.client() as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
    code, lines = await listed_when(rig, {first.pid, second.pid})
    assert code == 0
    ours = lines[first.pid]
    assert (ours["host"], ours["metrics"]) == (os.uname().nodename, f"127.0.0.1:{first.port}")
    assert ours["silent_s"] < 15
    assert ours["state"] in {"ready", "not-ready"}  # its first word may come before it was ready
    first.child.kill()
    second.child.stop(20)
    owner = ours["worker"]
    await redis.zadd(keyspace.WORKERS_SEEN, {owner: unix_ms() - 60_000})
    code, lines = await listed(rig)
    assert (code, [line["state"] for line in lines.values()]) == (75, ["silent"])
    ran = await asyncio.to_thread(sigmill, "workers", "list", "--config", rig.directory / "sigmill-1.toml")
    assert f"{first.pid} stopped reporting without a clean shutdown" in ran.err
    await redis.aclose()


async def test_a_worker_says_what_it_has(make_rig: MakeRig) -> None:
    """Lanes and sessions that are logged in, drained tokens, its epoch; again after Redis was away."""
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
    (rig.state_dir() / "drained-tokens").mkdir()
    (rig.state_dir() / "drained-tokens" / "acme").touch()
    rig.redis.stop()
    await until_async(lambda: not worker.ready, "it has noticed")
    rig.redis.start()

    async def said() -> dict[str, Any]:
        return (await listed(rig))[1].get(worker.pid, {})

    async with asyncio.timeout(PATIENCE_S):
        while (line := await said()).get("drained") != ["acme"]:  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.5)
    assert line["epoch"] >= 0
    assert line["lanes"] >= 1, "the service's own lane"
    assert line["sessions"] >= line["lanes"]
