"""SIGTERM at peak: every signature has its result, and the process ends after drain_s, although a part
hangs.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.hsm.simhsm import read_log, write_rules
from queueing import Job, Signature, SigningClient
from queueing.protocol import keyspace
from queueing.protocol.jobs import JobOutcome, decode_result
from queueing.unix_time import unix_ms
from tests.support.disk.disks import limit_files, slow_sync
from tests.support.farm.farm import digests
from tests.support.rig.operator import edit, reload
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import PATIENCE_S, until, until_async

DRAIN_S = 3.0
SLACK_S = 30.0
"""From the last thread's os._exit to the moment in which a test on a busy machine sees it. What hangs would be waited for
much longer: a call in the HSM for ``CALL_TIMEOUT_S``, the disk for a minute, Redis and a second SIGTERM without end."""

CALL_TIMEOUT_S = 100.0


LONG_LEASE_S = 120.0
"""Lease that is not lost while Redis does not answer, however busy the machine is."""


def rig_with(make_rig: MakeRig, *, drain_s: float = DRAIN_S, lease_s: float = 2.0, **more: object) -> Rig:
    """One lane that signs some hundred digests a second, in chunks smaller than a job."""
    worker = {"drain_s": drain_s, "lease_s": lease_s, "chunk_target_s": 0.03}
    rig = make_rig(
        appendonly=True,
        worker=worker,
        token={"acme": f"lanes = 1\ncall_timeout_s = {CALL_TIMEOUT_S}"},
        **more,
    )
    rig.wrap = behind_simhsm(rig.directory, sign_us=4_000)
    return rig


def signed_by_the_hsm(rig: Rig) -> Counter[bytes]:
    """Number of signatures of each digest, by the simulated HSM's own log."""
    return Counter(record.input_tail for record in read_log(rig.directory / "acme.simhsm.log"))


@asynccontextmanager
async def at_peak(
    rig: Rig, worker: WorkerProcess, count: int = 900
) -> AsyncIterator[tuple[SigningClient, Job]]:
    """A client whose digests are being signed."""
    async with rig.client() as client:
        job = await client.submit("release", digests(count), request_id="peak")
        await until_async(lambda: worker.metric("sigmill_signatures_total") > 50, "some are signed")
        yield client, job


async def ended_in_time(worker: WorkerProcess, began: float) -> None:
    await until_async(lambda: not worker.alive, "the worker ends")
    assert time.monotonic() - began < DRAIN_S + SLACK_S


async def all_signed(client: SigningClient, job: Job, count: int = 900) -> None:
    outcomes = await client.wait(job, timeout_s=60)
    assert [type(outcome) for outcome in outcomes] == [Signature] * count


async def test_every_operation_of_the_hsm_has_its_result(make_rig: MakeRig) -> None:
    """A job that is begun is finished; what is returned was not touched; the next worker signs the rest, each once."""
    rig = rig_with(make_rig)
    worker = rig.start_worker(1)
    async with at_peak(rig, worker) as (client, job):
        worker.child.terminate()
        began = time.monotonic()
        await ended_in_time(worker, began)
        assert worker.child.exit_code == 0, worker.child.log_tail(30)
        redis = rig.connect()
        raw = await redis.mget(keyspace.result(job_id) for job_id in job.job_ids)
        outcomes = [decode_result(result).outcome for result in raw if result is not None]
        assert not [key async for key in redis.scan_iter("arq:in-progress:*")]
        assert await redis.zcard(keyspace.queue("acme")) == raw.count(None) > 5
        await redis.aclose()
        published = sum(len(o.signatures) for o in outcomes if isinstance(o, JobOutcome))
        assert signed_by_the_hsm(rig).total() == published, "it signed what it did not publish"
        rig.start_worker(2)
        await all_signed(client, job)
    assert set(signed_by_the_hsm(rig).values()) == {1}


async def test_a_lower_drain_s_waits_for_a_restart(make_rig: MakeRig) -> None:
    """The running process drains by its old deadline, and loses or repeats no signature."""
    rig = rig_with(make_rig, drain_s=30.0)
    worker = rig.start_worker(1)
    async with at_peak(rig, worker) as (client, job):
        config = rig.directory / "sigmill-1.toml"
        edit(config, "drain_s = 30.0", "drain_s = 0.05")
        (report,) = await asyncio.to_thread(reload, config)
        assert report["waiting"] == ["worker"]
        worker.child.terminate()
        await until_async(lambda: not worker.alive, "the worker ends")
        assert worker.child.exit_code == 0, worker.child.log_tail(30)
        rig.start_worker(2)
        await all_signed(client, job)
    assert set(signed_by_the_hsm(rig).values()) == {1}


async def all_sessions_hang(worker: WorkerProcess) -> None:
    """Wait until every session of the token is in a call, and none of them has ended for a second."""

    def seen() -> tuple[float, float]:
        busy = worker.metric("sigmill_sessions_busy", token="acme")
        return worker.metric("sigmill_signatures_total"), worker.metric(
            "sigmill_sessions", token="acme"
        ) - busy

    async with asyncio.timeout(PATIENCE_S):
        before = seen()
        while True:
            await asyncio.sleep(1.0)
            before, last = seen(), before
            if before == last and before[1] == 0:
                return


async def test_a_call_that_hangs_in_the_hsm_is_not_waited_for(make_rig: MakeRig) -> None:
    """At the deadline its lane is killed, and the leases are given back, not left to run out."""
    rig = rig_with(make_rig)
    worker = rig.start_worker(1)
    async with at_peak(rig, worker) as (client, job):
        write_rules(rig.directory / "acme.faults", ["C_Sign hang"])
        await all_sessions_hang(worker)
        worker.child.terminate()
        began = time.monotonic()
        await ended_in_time(worker, began)
        assert worker.child.exit_code == 0, worker.child.log_tail(30)
        redis = rig.connect()
        assert not [key async for key in redis.scan_iter("arq:in-progress:*")]
        await redis.aclose()
        write_rules(rig.directory / "acme.faults", [])
        rig.start_worker(2)
        await all_signed(client, job)


async def nothing_is_being_signed(rig: Rig, worker: WorkerProcess) -> None:
    """Wait until the worker, which can claim nothing, has signed what it has, and its lanes are idle."""
    while True:
        signed = signed_by_the_hsm(rig).total()
        await until_async(lambda: worker.metric("sigmill_sessions_busy", token="acme") == 0, "lanes are idle")
        await asyncio.sleep(1.0)
        if signed_by_the_hsm(rig).total() == signed:
            return


async def end_leases(rig: Rig) -> None:
    """Leases of a worker that is no more are over, as if their time had passed."""
    redis = rig.connect()
    try:
        # What the worker had sent while Redis was stopped is executed by the end of the first command here.
        assert await redis.ping()
        async for lease in redis.scan_iter("arq:in-progress:*"):
            await redis.delete(lease)
        queue = keyspace.queue("acme")
        await redis.zadd(queue, dict.fromkeys(await redis.zrange(queue, 0, -1), unix_ms()), xx=True)
    finally:
        await redis.aclose()


async def test_redis_that_is_away_is_not_waited_for(make_rig: MakeRig) -> None:
    """Signed digests are in the log: the next start releases them, and nothing is signed twice.

    The leases are long: a job whose lease is lost may be signed twice, and nothing extends one while Redis is away.
    """
    rig = rig_with(make_rig, lease_s=LONG_LEASE_S)
    worker = rig.start_worker(1)
    async with at_peak(rig, worker) as (client, job):
        rig.redis.pause()
        await nothing_is_being_signed(rig, worker)  # what a lane has at the deadline may be signed twice
        worker.child.terminate()
        began = time.monotonic()
        await ended_in_time(worker, began)
        rig.redis.resume()
        await end_leases(rig)
        rig.start_worker(1)
        await all_signed(client, job)
    assert set(signed_by_the_hsm(rig).values()) == {1}


async def test_a_log_that_cannot_be_written_is_not_waited_for(make_rig: MakeRig) -> None:
    """The process ends in time, and another worker signs every digest."""
    rig = rig_with(make_rig)
    worker = rig.start_worker(1)
    async with at_peak(rig, worker) as (client, job):
        limit_files(worker.pid, 1)
        await until_async(lambda: worker.metric("sigmill_log_failing") == 1, "the log is failing")
        worker.child.terminate()
        began = time.monotonic()
        await ended_in_time(worker, began)
        rig.start_worker(2)
        await all_signed(client, job)


async def test_a_disk_that_does_not_answer_is_not_waited_for(make_rig: MakeRig) -> None:
    """A thread ends the process at the deadline, with exit code 1, and another worker signs every digest."""
    rig = rig_with(make_rig)
    worker = rig.start_worker(1)
    async with at_peak(rig, worker) as (client, job):
        with slow_sync(worker, 60.0, rig.directory / "strace.log"):
            await until_async(lambda: worker.metric("sigmill_log_lag_seconds") > 0.5, "the disk hangs")
            worker.child.terminate()
            said = "service.ended_by_deadline"
            await until_async(lambda: worker.events(said) == 1, "it ends", within_s=DRAIN_S + SLACK_S)
        until(lambda: not worker.alive, "its tracer lets it go")
        assert worker.child.exit_code == 1
        rig.start_worker(2)
        await all_signed(client, job)


async def test_a_second_sigterm_does_not_wait(make_rig: MakeRig) -> None:
    """Neither for a call that hangs in the HSM, nor for a Redis that does not answer."""
    rig = rig_with(make_rig, drain_s=60.0)
    write_rules(rig.directory / "acme.faults", ["C_Sign hang"])
    worker = rig.start_worker(1)
    async with rig.client() as client:
        await client.submit("release", digests(64))
        await until_async(lambda: worker.metric("sigmill_jobs_in_flight") > 0, "a job is in work")
        rig.redis.pause()
        worker.child.terminate()
        await until_async(lambda: worker.events("service.draining") == 1, "it drains")
        assert worker.alive
        began = time.monotonic()
        worker.child.terminate()
        await until_async(lambda: not worker.alive, "it ends")
        assert time.monotonic() - began < SLACK_S
        rig.redis.resume()


async def test_a_second_sigterm_is_no_accident(make_rig: MakeRig) -> None:
    """The exit code is 1, since a job was cut off, and there is no traceback."""
    rig = rig_with(make_rig)
    write_rules(rig.directory / "acme.faults", ["C_Sign hang"])
    worker = rig.start_worker(1)
    async with rig.client() as client:
        await client.submit("release", digests(64))
        await until_async(lambda: worker.metric("sigmill_jobs_in_flight") > 0, "a job is in work")
        worker.child.terminate()
        await until_async(lambda: worker.events("service.draining") == 1, "it drains")
        worker.child.terminate()
        await until_async(lambda: not worker.alive, "it ends")
    assert worker.child.exit_code == 1
    assert "Traceback" not in worker.log()
