"""A worker with an older file than its cluster refuses no job that the newer file permits, and is not kept busy by one that it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import tomllib
from pathlib import Path

from redis.asyncio import Redis

from queueing import Signature
from queueing.errors import SigningError
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.key_directory import directory_head
from queueing.unix_time import unix_ms
from tests.support.farm.forging import Forger, enqueue, outcome_of, payload
from tests.support.hsm.tokens import new_token
from tests.support.rig.operator import edit
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess, client_block, key_block
from tests.support.waiting import PATIENCE_S, until_async
from workers.pipeline.refusal_review import MOST_RETURNS

LATE = ClientKey.generate()
"""Key of a client that only the newer file has."""

KEEP_MS = 600_000
"""Life of the jobs, which is longer than a busy machine takes for the test."""


async def rig_behind(make_rig: MakeRig, folder: Path) -> tuple[Rig, WorkerProcess, WorkerProcess]:
    """Two workers of which the first has adopted a newer file, with a new key and a new client; its directory is published."""
    token = new_token(folder, "acme", {f"acme.{name}.v1": KeyKind.P256 for name in ("release", "fresh")})
    rig = make_rig(tokens={"acme": token})
    ahead, behind = rig.start_worker(1), rig.start_worker(2)
    new = key_block("fresh", "acme", token.keys["acme.fresh.v1"], ["ECDSA_SHA_256"])
    file = rig.tenant_file("acme")
    edit(file, "[clients.", f"{new}{client_block('late', LATE)}\n[clients.")
    os.kill(ahead.pid, signal.SIGHUP)
    epoch = tomllib.loads(file.read_text())["epoch"]
    redis = rig.connect()
    deadline_s = time.monotonic() + PATIENCE_S
    while (raw := await redis.get(keyspace.directory("acme"))) is None or directory_head(raw).epoch < epoch:
        assert time.monotonic() < deadline_s, "the newer directory is not published"
        await asyncio.sleep(0.01)
    await redis.aclose()
    return rig, ahead, behind


def late_envelope(client: str) -> bytes:
    """An envelope of one digest by the new client's key, in the name of ``client``."""
    return Forger(key=LATE).seal(client=client, expires_at_ms=unix_ms() + KEEP_MS)


def returned(worker: WorkerProcess) -> float:
    return worker.metric("sigmill_jobs_returned_total", tenant="acme", reason="config.behind")


async def test_jobs_of_a_new_key_and_of_a_new_client_are_signed_though_a_worker_has_the_older_file(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """The worker that is behind gets them first, and returns them; it says so once, and when its file has come it signs them itself."""
    rig, ahead, behind = await rig_behind(make_rig, tmp_path)
    redis = rig.connect()
    async with rig.client() as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
        os.kill(ahead.pid, signal.SIGSTOP)
        try:
            job = await client.submit("fresh", [os.urandom(32)])
            foreign = await enqueue(redis, "acme", payload(late_envelope("late")), keep_ms=KEEP_MS)
            await until_async(lambda: returned(behind) >= 2, "the worker that is behind has returned both")
        finally:
            os.kill(ahead.pid, signal.SIGCONT)
        (signature,) = await client.wait(job, timeout_s=60)
        assert isinstance(signature, Signature), signature
        assert not isinstance(await outcome_of(redis, foreign, within_s=60), SigningError)
        assert behind.events("config.behind") == 1
        assert behind.metric("sigmill_config_behind") == 1
        os.kill(behind.pid, signal.SIGHUP)
        await until_async(lambda: behind.metric("sigmill_config_behind") == 0, "the file has come")
        ahead.child.kill()
        assert isinstance(await client.sign("fresh", os.urandom(32), timeout_s=60), Signature)
    await redis.aclose()


async def make_due(redis: Redis, job_id: bytes) -> None:
    """What a tenant's own Redis user can do to have a job claimed again at once: no delay, and no attempts."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hdel(keyspace.claims("acme"), job_id.decode())
        pipe.zadd(keyspace.queue("acme"), {job_id: time.time() * 1000}, xx=True)
        pipe.publish(keyspace.doorbell("acme"), "acme")
        await pipe.execute()


async def test_a_job_that_no_file_permits_is_returned_so_often_and_then_refused(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """Whoever can write to the tenant's keys resets its attempts and its delay: the worker counts for itself."""
    rig, ahead, behind = await rig_behind(make_rig, tmp_path)
    ahead.child.kill()
    redis = rig.connect()
    job = await enqueue(redis, "acme", payload(late_envelope("nobody")), keep_ms=KEEP_MS)
    while await redis.exists(b"arq:result:" + job) == 0:
        await make_due(redis, job)
        await asyncio.sleep(0.01)
    outcome = await outcome_of(redis, job)
    assert isinstance(outcome, SigningError)
    assert outcome.reason == "client.unknown"
    await until_async(lambda: returned(behind) >= MOST_RETURNS, "each is counted")
    assert returned(behind) == MOST_RETURNS
    assert behind.alive
    await redis.aclose()
