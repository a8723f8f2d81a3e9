"""Redis is away, or the disk of the log is full: the worker keeps running, loses nothing, and signs again
afterwards.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import time

from bench.hsm.simhsm import write_rules
from queueing import Signature
from queueing.protocol import keyspace
from tests.support.disk.disks import ONE_LANE, limit_files
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async
from workers.journal.records import IntentRecord, OutcomeRecord, decode_record
from workers.journal.segments import read_segment, segments_of


async def test_redis_restarts_under_load(make_rig: MakeRig) -> None:
    """With its data on disk: the worker process stays the same, and all results arrive."""
    rig = make_rig(appendonly=True, worker={"lease_s": 3.0})
    rig.wrap = behind_simhsm(rig.directory, sign_us=2_000)
    worker = rig.start_worker()
    given = digests(1500)
    async with rig.client() as client:
        outcomes: list[object] = []

        async def collect() -> None:
            async for outcome in client.sign_many("release", given, timeout_s=60):
                outcomes.append(outcome)  # noqa: PERF401 - looked at while it grows

        collecting = asyncio.create_task(collect())
        await until_async(lambda: len(outcomes) > 100, "some are there")
        await asyncio.to_thread(rig.redis.kill)
        await until_async(lambda: not worker.ready, "the worker says that it is not ready")
        assert worker.get("/healthz")[0] == http.client.OK
        await asyncio.sleep(0.3)
        await asyncio.to_thread(rig.redis.start)
        await collecting
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    assert len(outcomes) == len(given)
    await until_async(lambda: worker.ready, "the worker is ready again")
    assert worker.metric("sigmill_redis_errors_total") > 0


async def test_redis_comes_back_empty(make_rig: MakeRig) -> None:
    """Without its data: directories are published again, and a new client signs without a restart of the
    worker.
    """
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
    await asyncio.to_thread(rig.redis.stop)
    await until_async(lambda: not worker.ready, "the worker says that it is not ready")
    await asyncio.to_thread(rig.redis.start)
    async with rig.client() as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)


async def test_a_service_token_that_is_away_costs_a_try_now_and_then(make_rig: MakeRig) -> None:
    """No directory can be signed: the worker keeps running, and logs at most four failures in three
    seconds.
    """
    rig = make_rig(token={"service": 'socket = "nobody-listens.sock"'})
    worker = rig.start_worker(ready=False)
    await until_async(lambda: worker.events("directory.failed") > 0, "it has tried")
    await asyncio.sleep(3.0)  # meanwhile the log is not filled
    assert worker.events("directory.failed") <= 4
    assert worker.alive


async def test_redis_pauses_under_load(make_rig: MakeRig) -> None:
    """SIGSTOP for longer than any lease: connections time out, leases run out, and every result arrives once."""
    rig = make_rig(worker={"lease_s": 2.0})
    rig.wrap = behind_simhsm(rig.directory, sign_us=1_000)
    worker = rig.start_worker()
    given = digests(1500)
    async with rig.client() as client:
        work = asyncio.create_task(_collect(client.sign_many("release", given, timeout_s=60)))
        await until_async(lambda: worker.metric("sigmill_signatures_total") > 50, "some are signed")
        rig.redis.pause()
        await asyncio.sleep(3.0)
        rig.redis.resume()
        outcomes = await work
    assert [type(outcome) for outcome in outcomes] == [Signature] * len(given)
    assert worker.alive


async def _collect(source: object) -> list[object]:
    return [outcome async for outcome in source]  # type: ignore[attr-defined]


async def test_nothing_is_signed_or_released_while_the_log_cannot_be_written(make_rig: MakeRig) -> None:
    """The jobs stay and the worker is not ready; once the disk has space every digest is signed."""
    rig = make_rig(token=ONE_LANE)
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        signed = len((rig.directory / "acme.simhsm.log").read_text().splitlines())
        limit_files(worker.pid, 1)
        job = await client.submit("release", digests(200))
        await until_async(lambda: worker.metric("sigmill_log_failing") == 1, "the log is failing")
        await until_async(lambda: not worker.ready, "the worker says that it is not ready")
        await asyncio.sleep(1.5)  # meanwhile nothing is signed or released
        redis = rig.connect()
        assert not await redis.exists(*(keyspace.result(job_id) for job_id in job.job_ids))
        assert await redis.zcard(keyspace.queue("acme")) == len(job.job_ids)
        await redis.aclose()
        assert len((rig.directory / "acme.simhsm.log").read_text().splitlines()) == signed
        limit_files(worker.pid, resource.RLIM_INFINITY)
        outcomes = await client.wait(job, timeout_s=60)
        assert all(isinstance(outcome, Signature) for outcome in outcomes)
    await until_async(lambda: worker.ready, "the worker is ready again")
    await until_async(lambda: worker.metric("sigmill_log_failing") == 0, "the log is well again")
    assert len(segments_of(rig.state_dir() / "wal")) <= 3, "each try left a file behind"


async def test_a_signature_is_held_back_until_its_outcome_is_in_the_log(make_rig: MakeRig) -> None:
    """The disk fills up between intent and outcome: the HSM has signed, and the result is released once there
    is space.
    """
    rig = make_rig(worker={"lease_s": 2.0}, token=ONE_LANE)
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    hsm_log, rules = rig.directory / "acme.simhsm.log", rig.directory / "acme.faults"
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        write_rules(rules, ["C_Sign hold"])
        job = await client.submit("release", digests(1))
        await until_async(lambda: _dispatched(rig) == 2, "it is sent")
        limit_files(worker.pid, 1)
        write_rules(rules, [])
        await until_async(lambda: len(hsm_log.read_text().splitlines()) == 2, "it is signed")
        await until_async(lambda: worker.metric("sigmill_log_failing") == 1, "the log is failing")
        redis = rig.connect()
        began = time.monotonic()
        while time.monotonic() - began < 3.0:  # longer than the lease, which is extended meanwhile
            assert not await redis.exists(keyspace.result(job.job_ids[0]))
            await asyncio.sleep(0.1)
        await redis.aclose()
        limit_files(worker.pid, resource.RLIM_INFINITY)
        (outcome,) = await client.wait(job, timeout_s=60)
    assert isinstance(outcome, Signature)
    assert len(hsm_log.read_text().splitlines()) == 2, "it was signed again"


def _dispatched(rig: Rig) -> int:
    """Number of intents in the log."""
    folder = rig.state_dir() / "wal"
    return sum(
        isinstance(decode_record(raw), IntentRecord)
        for file in segments_of(folder)
        for raw in read_segment(file)
    )


async def test_every_signature_is_covered_by_an_intent_and_every_result_by_an_outcome(
    make_rig: MakeRig,
) -> None:
    """After an orderly end the log has an intent and an outcome of each job."""
    rig = make_rig()
    worker = rig.start_worker()
    given = digests(300)
    async with rig.client() as client:
        job = await client.submit("release", given)
        await client.wait(job, timeout_s=60)
    assert worker.child.stop(60) == 0
    records = [
        decode_record(raw) for file in segments_of(rig.state_dir() / "wal") for raw in read_segment(file)
    ]
    wanted = {job_id.encode() for job_id in job.job_ids}
    assert {r.job_id for r in records if isinstance(r, IntentRecord)} == wanted
    assert {r.job_id for r in records if isinstance(r, OutcomeRecord)} == wanted


async def test_digests_signed_before_a_crash_are_published_and_not_signed_again(make_rig: MakeRig) -> None:
    """The outcome is durable and Redis away when the worker is killed: the next one publishes it."""
    rig = make_rig(appendonly=True, worker={"lease_s": 2.0})
    rig.wrap = behind_simhsm(rig.directory, sign_us=300_000)
    first = rig.start_worker()
    hsm_log = rig.directory / "acme.simhsm.log"
    async with rig.client() as client:
        job = await client.submit("release", digests(1))
        await until_async(lambda: _dispatched(rig) == 1, "it is sent")
        rig.redis.pause()

        def outcome_is_durable() -> bool:
            return any(
                isinstance(decode_record(raw), OutcomeRecord)
                for file in segments_of(rig.state_dir() / "wal")
                for raw in read_segment(file)
            )

        await until_async(outcome_is_durable, "the outcome is in the log")
        first.child.kill()
        rig.redis.resume()
        # What the killed worker had sent to the paused Redis may have been committed; then it stays so.
        rig.start_worker()
        (outcome,) = await client.wait(job, timeout_s=60)
    assert isinstance(outcome, Signature)
    assert len(hsm_log.read_text().splitlines()) == 1, "it was signed again"
