"""The disk of the log is full, read-only or slow: nothing is lost or signed without a record, and work
resumes without help.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import time
from pathlib import Path

from bench.hsm.simhsm import read_log
from queueing import Signature
from queueing.client.signing_request import DIGESTS_PER_SLICE
from queueing.protocol import keyspace
from tests.support.disk.disks import fill, remount, slow_sync, small_disk
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async
from workers.journal.segments import segments_of

INTENT_BYTES = DIGESTS_PER_SLICE * 32
"""Least size of the intent of a full envelope of SHA-256 digests."""

PAGE_BYTES = 4096
SYNC_S = 8.5
"""Time of one sync: more than twice a lease, and less than a page may take."""


def _left_in_page(folder: Path) -> int:
    """Room in the last block of the newest segment: a full disk still takes that much."""
    return -max(segments_of(folder)).stat().st_size % PAGE_BYTES


async def test_a_disk_that_is_full_then_read_only_then_well(make_rig: MakeRig) -> None:
    """The jobs stay in the queue, free for other hosts; the worker is alive, not ready, and comes back without help."""
    rig = make_rig(token={"acme": "lanes = 1"})
    rig.wrap = behind_simhsm(rig.directory)
    hsm_log = rig.directory / "acme.simhsm.log"
    disk = rig.state_dir() / "wal"
    with small_disk(disk, 256 * 1024):
        worker = rig.start_worker()
        async with rig.client() as client:
            signed = 0
            while signed == 0 or _left_in_page(disk) > INTENT_BYTES // 2:
                await client.sign("release", os.urandom(32), timeout_s=60)
                signed += 1
            filler = fill(disk)
            job = await client.submit("release", digests(3 * DIGESTS_PER_SLICE))
            await until_async(lambda: worker.metric("sigmill_log_failing") == 1, "the log is failing")
            await asyncio.to_thread(remount, disk, "ro")
            await until_async(lambda: "Read-only file system" in worker.log(), "it tries again")
            await until_async(lambda: not worker.ready, "the worker says that it is not ready")
            assert worker.get("/healthz")[0] == http.client.OK
            redis = rig.connect()
            await until_async(lambda: worker.metric("sigmill_jobs_in_flight") == 0, "it holds no job")
            assert await redis.zcard(keyspace.queue("acme")) == len(job.job_ids)
            assert not [key async for key in redis.scan_iter("arq:in-progress:*")]
            await redis.aclose()
            assert len(read_log(hsm_log)) == signed
            await asyncio.to_thread(remount, disk, "rw")
            filler.unlink()
            outcomes = await client.wait(job, timeout_s=60)
            assert [type(outcome) for outcome in outcomes] == [Signature] * 3 * DIGESTS_PER_SLICE
        await until_async(lambda: worker.ready, "the worker is ready again")
        assert len(read_log(hsm_log)) == signed + 3 * DIGESTS_PER_SLICE
        assert worker.child.stop(60) == 0


async def test_a_slow_disk_delays_and_nothing_else(make_rig: MakeRig) -> None:
    """Each sync takes longer than a lease: leases are extended, pages are served, everything is signed once."""
    rig = make_rig(token={"acme": "lanes = 1"}, worker={"lease_s": 8.0})
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        with slow_sync(worker, SYNC_S, rig.directory / "strace.log"):
            job = await client.submit("release", digests(128))
            waiting = asyncio.create_task(client.wait(job, timeout_s=90))
            longest_s = 0.0
            while not waiting.done():
                began = time.monotonic()
                status, _ = await asyncio.to_thread(worker.get, "/healthz")
                longest_s = max(longest_s, time.monotonic() - began)
                assert status == http.client.OK
                await asyncio.sleep(0.05)
            outcomes = await waiting
    assert [type(outcome) for outcome in outcomes] == [Signature] * 128
    assert longest_s < 0.8 * SYNC_S, "the loop waited for the disk"
    assert worker.metric("sigmill_lease_events_total", event="extended") > 0
    assert worker.metric("sigmill_lease_events_total", event="lost") == 0
    assert worker.metric("sigmill_commits_fenced_total") == 0
    assert len(read_log(rig.directory / "acme.simhsm.log")) == 129
