"""Measured losses of each accept level: one client submits as fast as it can, then something happens to Redis.

The table in docs/accept-levels.md comes from here::

    .venv/bin/python -m pytest tests/integration/redis/test_losses.py -s -p no:randomly
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queueing.broker.submissions import Submission
from queueing.broker.submit import submit
from queueing.config.redis import RedisConfig
from queueing.config.toml import parse_toml
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.jobs import job_id_of
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms
from tests.support.fakes.active_jobs import envelope
from tests.support.redis.nodes import PASSWORD, RedisNodes
from tests.support.redis.process import RedisProcess
from tests.support.waiting import until_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TENANT = "acme"
BATCH = 16
RUNS_S = 3.0
"""How long the client submits before the fault; an AOF that is synced every second has been so by then."""

AFTER_S = 13.0
"""And after it: a deposed primary takes writes for about ten seconds."""

LEVELS: dict[str, tuple[str, ...]] = {
    "local": (),
    "replicated, 1 of 2": ('accept = "replicated"',),
    "replicated, 2 of 2": ('accept = "replicated"', "replicas = 2"),
}


@dataclass(slots=True)
class Submitted:
    """Replies to one client: ids that were accepted, and the number of other replies."""

    config: RedisConfig
    accepted: list[str] = field(default_factory=list)
    unsure: int = 0
    longest_gap_s: float = 0.0
    over: bool = False

    async def run(self) -> None:
        redis = connect(self.config)
        last_s = time.monotonic()
        while not self.over:
            jobs = [_submission() for _ in range(BATCH)]
            with contextlib.suppress(QueueUnavailable):
                receipts = await submit(
                    redis, TENANT, jobs, now_ms=unix_ms(), wait=self.config.replica_wait()
                )
                if all(receipt.confirmed for receipt in receipts):
                    self.accepted += [job.job_id for job in jobs]
                    now_s = time.monotonic()
                    self.longest_gap_s, last_s = max(self.longest_gap_s, now_s - last_s), now_s
                    continue
            self.unsure += 1
            await asyncio.sleep(0.05)
        self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - last_s)
        await redis.aclose()

    async def lost(self) -> int:
        """Number of accepted jobs that the primary does not know."""
        redis = connect(self.config)
        known = 0
        for i in range(0, len(self.accepted), 1000):
            known += await redis.exists(*map(keyspace.job, self.accepted[i : i + 1000]))
        await redis.aclose()
        return len(self.accepted) - known


def _submission() -> Submission:
    key = os.urandom(16)
    return Submission(
        job_id=job_id_of(TENANT, key),
        envelope=msgspec.structs.replace(envelope(1), tenant=TENANT, idempotency_key=key),
        sealed=b"sealed" + os.urandom(2200),
        content=key,
        reply_id="",
    )


def _config(lines: str, folder: Path) -> RedisConfig:
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "password").chmod(0o600)
    text = f'password_file = "{folder / "password"}"\n{lines}'
    return msgspec.convert(parse_toml(folder / "redis.toml", text), RedisConfig)


async def _measure(what: str, level: str, config: RedisConfig, fault: Callable[[], Awaitable[Any]]) -> int:
    """Number of accepted jobs that are lost by a fault under load. The pauses are the time that the load
    lasts.
    """
    submitted = Submitted(config)
    running = asyncio.create_task(submitted.run())
    await asyncio.sleep(RUNS_S)
    await until_async(lambda: bool(submitted.accepted), "jobs are accepted")
    await fault()
    submitted.over = True
    await running
    lost = await submitted.lost()
    print(  # noqa: T201 - the measurement is what this is for
        f"\n| {what} | {level} | {len(submitted.accepted):,} | {lost:,} | {submitted.unsure} |"
        f" {submitted.longest_gap_s:.1f} s |"
    )
    return lost


Fault = Callable[[RedisNodes, RedisProcess], Awaitable[None]]


async def _another(nodes: RedisNodes, old: RedisProcess) -> None:
    await until_async(lambda: nodes.primary(besides=old) is not None, "another primary", within_s=30)


async def crash(nodes: RedisNodes, primary: RedisProcess) -> None:
    """kill -9, and it stays away."""
    await asyncio.to_thread(primary.kill)
    await _another(nodes, primary)
    await asyncio.sleep(2.0)


async def crash_behind(nodes: RedisNodes, primary: RedisProcess) -> None:
    """kill -9, when both replicas have stood still for 0.9 s: less than the Sentinels take for a failure."""
    replicas = [node for node in nodes.nodes if node is not primary]
    for node in replicas:
        node.pause()
    await asyncio.sleep(0.9)
    await asyncio.to_thread(primary.kill)
    for node in replicas:
        node.resume()
    await _another(nodes, primary)
    await asyncio.sleep(2.0)


async def fail_over(nodes: RedisNodes, primary: RedisProcess) -> None:
    """SENTINEL FAILOVER, and nothing else."""
    nodes.fail_over()
    await _another(nodes, primary)
    await asyncio.sleep(AFTER_S)


async def pause_and_fail_over(nodes: RedisNodes, primary: RedisProcess) -> None:
    """Writes paused, SENTINEL FAILOVER, clients of the old primary sent away."""
    await asyncio.to_thread(nodes.pause_writes, primary)
    nodes.fail_over()
    await _another(nodes, primary)
    primary.command("CLIENT", "KILL", "TYPE", "normal")
    await asyncio.sleep(AFTER_S)


async def cut_power(nodes: RedisNodes, primary: RedisProcess) -> None:
    """The primary's machine loses power and is back before a failover: its replicas follow its shorter
    log.
    """
    await asyncio.to_thread(lose_power, primary)
    await asyncio.to_thread(primary.start)
    others = len(nodes.nodes) - 1
    await until_async(lambda: nodes.followers(primary) == others, "the replicas are back", within_s=30)
    await asyncio.sleep(1.0)


def lose_power(server: RedisProcess) -> None:
    """SIGKILL, and what was not synced to the disk is gone: the end of the AOF that was written in the last second.

    ``everysec`` syncs once a second, so up to two seconds may be lost; one is cut off here. ``always`` has nothing to cut.
    """
    (aof,) = (server.directory / "appendonlydir").glob("*.incr.aof")
    always = "always" in (server.directory / "redis.conf").read_text()
    before = aof.stat().st_size
    time.sleep(1.0)
    server.kill()
    if not always:
        os.truncate(aof, before)


FAULTS: dict[str, Fault] = {
    "crash, failover": crash,
    "crash, replicas 0.9 s behind": crash_behind,
    "manual failover": fail_over,
    "manual failover, writes paused first": pause_and_fail_over,
    "power loss, back at once": cut_power,
}

SAFE = {
    ("crash, failover", "replicated, 1 of 2"),
    ("crash, failover", "replicated, 2 of 2"),
    ("crash, replicas 0.9 s behind", "replicated, 1 of 2"),
    ("crash, replicas 0.9 s behind", "replicated, 2 of 2"),
    ("manual failover", "replicated, 2 of 2"),
    *(("manual failover, writes paused first", level) for level in LEVELS),
}
"""Where nothing may be lost; elsewhere the number is what the level costs."""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("what", FAULTS)
async def test_three_nodes_and_three_sentinels(what: str, level: str, tmp_path: Path) -> None:
    """No accepted job is lost where ``SAFE`` says so; elsewhere the losses are measured."""
    patient = 10_000 if FAULTS[what] is cut_power else 1000
    no_rewrite = {"auto-aof-rewrite-percentage": "0"}  # lose_power cuts the one file that there is
    with RedisNodes(tmp_path, sentinels=3, down_after_ms=patient, settings=no_rewrite) as nodes:
        config = _config(nodes.table(*LEVELS[level]), tmp_path)
        lost = await _measure(what, level, config, lambda: FAULTS[what](nodes, nodes.nodes[0]))
    if (what, level) in SAFE:
        assert lost == 0


@pytest.mark.parametrize("how", ["kill -9", "power loss"])
@pytest.mark.parametrize("sync", ["everysec", "always"])
async def test_one_redis_by_itself(how: str, sync: str, tmp_path: Path) -> None:
    """With ``appendfsync always`` no accepted job is lost; the losses with ``everysec`` are measured."""
    settings = {"appendfsync": sync, "auto-aof-rewrite-percentage": "0"}
    with RedisProcess(tmp_path / "redis", password=PASSWORD, appendonly=True, settings=settings) as redis:
        config = _config(f'unix_socket = "{redis.socket_path}"', tmp_path)

        async def fault() -> None:
            await asyncio.to_thread(lose_power if how == "power loss" else RedisProcess.kill, redis)
            await asyncio.to_thread(redis.start)
            await asyncio.sleep(1.0)

        lost = await _measure(f"{how}, one Redis, appendfsync {sync}", "local", config, fault)
    if sync == "always":  # of `everysec` a slow disk decides: test_slow_disk
        assert lost == 0
