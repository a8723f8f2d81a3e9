"""Redis killed while its disk is slow: an acknowledged job may be lost with ``appendfsync everysec``, never with ``always``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from bench.native.build import SHARED_FLAGS, compile_sources
from queueing.broker.submissions import Submission
from queueing.broker.submit import submit
from queueing.config.redis import RedisConfig
from queueing.errors import QueueUnavailable
from queueing.protocol import keyspace
from queueing.protocol.jobs import job_id_of
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms
from tests.support.fakes.active_jobs import envelope
from tests.support.redis.process import RedisProcess
from tests.support.waiting import until_async

SOURCE = Path(__file__).parents[2] / "native" / "held_sync.c"
TENANT = "acme"
POSTPONED_S: Final = 2.0
"""Redis writes to its file after so long, also while a sync is under way (``flushAppendOnlyFile`` of aof.c)."""


class SlowDisk:
    """Syncs of a Redis, held while ``hold`` exists."""

    def __init__(self, folder: Path) -> None:
        self._hold = folder / "hold"
        self._waits = folder / "hold.waits"
        self.environment = {
            "LD_PRELOAD": str(compile_sources("held_sync.so", [SOURCE], SHARED_FLAGS)),
            "HELD_SYNC_FILE": str(self._hold),
        }

    def hold(self) -> None:
        self._hold.touch()

    def let_go(self) -> None:
        self._hold.unlink(missing_ok=True)

    async def sync_waits(self) -> None:
        """Return when a sync has begun, and does not end."""
        await until_async(self._waits.exists, "a sync that waits", within_s=30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SlowDisk]:
    disk = SlowDisk(tmp_path)
    yield disk
    disk.let_go()


def started(folder: Path, disk: SlowDisk, appendfsync: str) -> RedisProcess:
    return RedisProcess(
        folder / "redis",
        appendonly=True,
        settings={"appendfsync": appendfsync},
        environment=disk.environment,
    )


def job() -> Submission:
    key = os.urandom(16)
    return Submission(
        job_id=job_id_of(TENANT, key),
        envelope=msgspec.structs.replace(envelope(1), tenant=TENANT, idempotency_key=key),
        sealed=b"sealed",
        content=key,
        reply_id="",
    )


async def sent(config: RedisConfig, each: Submission) -> None:
    """Return when Redis has acknowledged it."""
    redis = connect(config)
    try:
        await submit(redis, TENANT, [each], now_ms=unix_ms())
    finally:
        await redis.aclose()


async def is_known(config: RedisConfig, each: Submission) -> bool:
    redis = connect(config)
    try:
        return bool(await redis.exists(keyspace.job(each.job_id)))
    finally:
        await redis.aclose()


async def test_a_sync_every_second_may_lose_what_was_acknowledged_while_the_sync_took_long(
    tmp_path: Path, disk: SlowDisk
) -> None:
    """Redis answers, and keeps the write in its memory until the sync ends, for two seconds at most: ``kill -9`` loses it."""
    with started(tmp_path, disk, "everysec") as redis:
        config = RedisConfig(unix_socket=str(redis.socket_path))
        disk.hold()
        early, late = job(), job()
        await sent(config, early)
        await disk.sync_waits()
        began_s = time.monotonic()
        await sent(config, late)
        await asyncio.to_thread(redis.kill)
        took_s = time.monotonic() - began_s
        disk.let_go()
        await asyncio.to_thread(redis.start)
        assert await is_known(config, early)
        assert not await is_known(config, late) or took_s >= POSTPONED_S


async def test_a_sync_before_each_answer_loses_nothing_that_was_acknowledged(
    tmp_path: Path, disk: SlowDisk
) -> None:
    """``appendfsync always``: while the sync takes long there is no answer, and the submit fails when Redis
    is killed.
    """
    with started(tmp_path, disk, "always") as redis:
        config = RedisConfig(unix_socket=str(redis.socket_path))
        acknowledged, unanswered = job(), job()
        await sent(config, acknowledged)
        disk.hold()
        sending = asyncio.create_task(sent(config, unanswered))
        await disk.sync_waits()
        assert not sending.done()
        await asyncio.to_thread(redis.kill)
        with pytest.raises(QueueUnavailable):
            await sending
        disk.let_go()
        await asyncio.to_thread(redis.start)
        assert await is_known(config, acknowledged)
