"""Leases are kept off the event loop, end with a worker that is gone, and fence one that comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import pytest
from arq.connections import ArqRedis
from prometheus_client import CollectorRegistry

from bench.hsm.simhsm import write_rules
from queueing import Signature
from queueing.broker.claims import Claims
from queueing.config.redis import RedisConfig
from queueing.protocol import keyspace
from queueing.redis.connection import connect
from tests.support.fakes.active_jobs import one_sink
from tests.support.farm.farm import digests
from tests.support.farm.queued import put, submission, take
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import PATIENCE_S, until, until_async
from workers.active_job import ActiveJob
from workers.active_jobs import ActiveJobs
from workers.journal.records import ReleasedRecord, decode_record
from workers.journal.segments import read_segment, segments_of
from workers.lifecycle.heartbeat import Heartbeat
from workers.pipeline.lease_keeper import LOOP_PATIENCE_LEASES, PER_LEASE, LeaseKeeper
from workers.telemetry.metrics import Metrics

LEASE_S = 0.6


@pytest.fixture
async def redis(own_redis: RedisProcess) -> AsyncIterator[ArqRedis]:
    pool = connect(RedisConfig(unix_socket=str(own_redis.socket_path)))
    yield pool
    await pool.aclose()


@dataclass
class LoopSeen:
    """Heartbeat of a loop that was last alive ``unseen_s`` seconds ago."""

    unseen_s: float = 0.0

    @property
    def seen_at(self) -> float:
        return time.monotonic() - self.unseen_s


class Kept:
    """A job with a short lease, and the keeper that extends it."""

    def __init__(self, server: RedisProcess, redis: ArqRedis) -> None:
        self.claims = Claims(redis, owner="one", lease_ms=int(LEASE_S * 1000))
        self.jobs = ActiveJobs()
        self.heartbeat = LoopSeen()
        self.registry = CollectorRegistry()
        self.keeper = LeaseKeeper(
            RedisConfig(unix_socket=str(server.socket_path)),
            owner="one",
            lease_s=LEASE_S,
            jobs=self.jobs,
            heartbeat=cast("Heartbeat", self.heartbeat),
            metrics=Metrics(self.registry),
        )

    async def begin(self, redis: ArqRedis) -> None:
        await put(redis, submission(1))
        for claimed in (await take(self.claims)).jobs:
            self.jobs.add(ActiveJob(claimed, one_sink()))
        self.keeper.start()

    def events(self, event: str) -> float:
        """Number of leases that were ``extended`` or ``lost``."""
        return self.registry.get_sample_value("sigmill_lease_events_total", {"event": event}) or 0.0

    async def is_leased(self, redis: ArqRedis) -> bool:
        return bool(await redis.exists(keyspace.IN_PROGRESS_PREFIX + submission(1).job_id))


@pytest.fixture
def kept(own_redis: RedisProcess, redis: ArqRedis) -> Kept:
    return Kept(own_redis, redis)


async def test_a_loop_that_is_busy_loses_no_lease(kept: Kept, redis: ArqRedis) -> None:
    """While a callback blocks the loop for two leases, the keeper's thread extends."""
    await kept.begin(redis)
    until(lambda: kept.events("extended") >= 2 * PER_LEASE, "the lease is extended")  # it blocks the loop
    assert kept.events("lost") == 0
    kept.keeper.stop()


async def test_a_loop_that_hangs_for_good_loses_its_leases(kept: Kept, redis: ArqRedis) -> None:
    """No lease is extended, so another worker can sign its jobs."""
    kept.heartbeat.unseen_s = LOOP_PATIENCE_LEASES * LEASE_S + 1
    await kept.begin(redis)
    assert kept.jobs.claimed()
    async with asyncio.timeout(PATIENCE_S):
        while await kept.is_leased(redis):  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.05)
    assert kept.events("extended") == 0
    kept.keeper.stop()


async def test_extending_continues_after_redis_was_away(
    kept: Kept, own_redis: RedisProcess, redis: ArqRedis
) -> None:
    """The lease ran out meanwhile, but no worker claimed the job: it is leased again."""
    await kept.begin(redis)
    own_redis.pause()
    await asyncio.sleep(2 * LEASE_S)
    own_redis.resume()
    wanted = kept.events("extended") + 2 * PER_LEASE  # more than what was sent before the outage
    await until_async(lambda: kept.events("extended") >= wanted, "the lease is extended again")
    kept.keeper.stop()


def released(rig: Rig, number: int) -> list[str]:
    """Statuses of this worker's releases, from its log."""
    records = [
        decode_record(raw)
        for file in segments_of(rig.state_dir(number) / "wal")
        for raw in read_segment(file)
    ]
    return [record.how for record in records if isinstance(record, ReleasedRecord)]


def rig_that_holds(make_rig: MakeRig, *, lease_s: float) -> Rig:
    """The HSM holds its calls until the test says ``go_on``: what is in work stays so, however slow the machine is."""
    rig = make_rig(worker={"lease_s": lease_s}, token={"acme": "lanes = 1\ncall_timeout_s = 100.0"})
    rig.wrap = behind_simhsm(rig.directory)
    write_rules(rig.directory / "acme.faults", ["C_Sign hold"])
    return rig


def go_on(rig: Rig) -> None:
    write_rules(rig.directory / "acme.faults", [])


async def test_a_zombie_changes_no_result(make_rig: MakeRig) -> None:
    """Stopped for longer than its lease and resumed: its commit is fenced and logged, and the client's result
    stays.
    """
    rig = rig_that_holds(make_rig, lease_s=2.0)
    first = rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(4))
        await until_async(lambda: first.metric("sigmill_sessions_busy", token="acme") > 0, "it is in work")
        os.kill(first.pid, signal.SIGSTOP)
        go_on(rig)
        rig.start_worker(2)
        outcomes = await client.wait(job, timeout_s=40)
        assert [type(outcome) for outcome in outcomes] == [Signature] * 4
        redis = rig.connect()
        before = await redis.get(keyspace.result(job.job_ids[0]))
        os.kill(first.pid, signal.SIGCONT)
        await until_async(lambda: first.metric("sigmill_commits_fenced_total") == 1, "it is fenced")
        assert await redis.get(keyspace.result(job.job_ids[0])) == before
        await redis.aclose()
    first.child.terminate()
    until(lambda: not first.alive, "it drains")
    assert released(rig, 1) == ["fenced"]


async def test_a_killed_workers_jobs_are_signed_when_their_lease_is_over(make_rig: MakeRig) -> None:
    """A worker that was running all the time signs them, and one crash is counted."""
    rig = rig_that_holds(make_rig, lease_s=3.0)
    first = rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(6))
        await until_async(lambda: first.metric("sigmill_sessions_busy", token="acme") > 0, "it is in work")
        rig.start_worker(2)
        redis = rig.connect()
        first.child.kill()
        claims = keyspace.claims("acme")
        async with asyncio.timeout(PATIENCE_S):
            while (entry := await redis.hget(claims, job.job_ids[0])).startswith(b"1:"):  # type: ignore[misc]  # noqa: ASYNC110 - Redis has no event for it
                await asyncio.sleep(0.01)
        assert entry.split(b":")[0] == b"2", "the second attempt"
        assert entry.split(b":")[5] == b"1", "one crash"
        await redis.aclose()
        go_on(rig)
        outcomes = await client.wait(job, timeout_s=60)
    assert [type(outcome) for outcome in outcomes] == [Signature] * 6


ENDS_AT_ONCE = """
import atexit, time
from prometheus_client import CollectorRegistry
from queueing.config.redis import RedisConfig
from workers.active_jobs import ActiveJobs
from workers.lifecycle.heartbeat import Heartbeat
from workers.pipeline.lease_keeper import LeaseKeeper
from workers.telemetry.metrics import Metrics

metrics = Metrics(CollectorRegistry())
heartbeat = Heartbeat(metrics)
heartbeat.seen_at = time.monotonic() + 3600
keeper = LeaseKeeper(
    RedisConfig(host="localhost"), owner="w", lease_s=0.03, jobs=ActiveJobs(), heartbeat=heartbeat,
    metrics=metrics,
)
keeper.start()
atexit.register(time.sleep, 0.2)
time.sleep(0.1)
"""


def test_a_process_that_ends_at_once_leaves_no_traceback_of_the_keeper() -> None:
    """As after a second SIGTERM: the keeper's thread still runs while the interpreter takes itself apart."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDS_AT_ONCE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
