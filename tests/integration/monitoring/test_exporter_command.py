"""``sigmill exporter`` beside a worker: metrics of Redis, with the rights of a worker's user."""

from __future__ import annotations

import sys

from queueing.protocol import keyspace
from queueing.redis.acl import password_sha256, set_user, worker_rules
from tests.support.farm.farm import digests
from tests.support.ports import free_port
from tests.support.rig.operator import set_worker_user
from tests.support.rig.rig import MakeRig, WorkerProcess
from tests.support.waiting import until, until_async
from workers.dev.child_process import Child


async def test_the_exporter_tells_of_the_queues_with_a_workers_rights(make_rig: MakeRig) -> None:
    """Backlog and age without a worker, and without a scan; it ends at SIGTERM with exit code 0."""
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:  # waits for the tenant's directory
        await client.sign("release", digests(1)[0], timeout_s=60)
    worker.child.kill()
    redis = rig.connect()
    await set_worker_user(rig, redis)
    await redis.config_resetstat()  # of what the worker did
    port = free_port()
    rig.service = f"\n[exporter]\nport = {port}\ninterval_s = 0.1\n"
    command = [sys.executable, "-I", "-m", "workers.cli", "exporter", "--config", str(rig.config())]
    exporter = WorkerProcess(Child("exporter", command, rig.directory / "exporter.log"), port)
    rig.workers.append(exporter)
    until(lambda: exporter.ready, "the exporter has seen Redis")
    async with rig.client() as client:
        await client.submit("release", digests(100))
        await until_async(
            lambda: exporter.metric("sigmill_submitted_digests_total", tenant="acme") == 100,
            "it is counted",
        )
    assert exporter.metric("sigmill_backlog_digests", tenant="acme") == 100
    assert exporter.metric("sigmill_queue_jobs", state="ready") > 0
    assert exporter.metric("sigmill_redis_up") == 1
    await until_async(lambda: exporter.metric("sigmill_backlog_age_seconds") > 0.5, "it grows old")
    await redis.hset(keyspace.dead_letters("acme"), "job", "record")  # type: ignore[misc]  # typed for both clients
    await until_async(lambda: exporter.metric("sigmill_dead_letters", tenant="acme") == 1, "it is told")
    stats = await redis.info("commandstats")
    assert not stats.keys() & {"cmdstat_scan", "cmdstat_keys", "cmdstat_hgetall"}
    rig.redis.stop()
    await until_async(lambda: not exporter.ready, "it says that Redis is away")
    assert exporter.get("/healthz")[0] == 200
    rig.redis.start()  # which knows no user any more: there is no aclfile
    await set_user(redis, "worker", worker_rules(password_sha256("pw")))
    await redis.aclose()
    await until_async(
        lambda: exporter.ready and exporter.metric("sigmill_redis_restarts_total") == 1, "it is back"
    )
    assert exporter.child.stop(60) == 0, exporter.log()


async def test_the_lane_measures_signing_and_verifying(make_rig: MakeRig) -> None:
    """The worker's metrics have the lane's times of signing and verifying by algorithm, and the module's by
    token.
    """
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        assert [s async for s in client.sign_many("release", digests(64), timeout_s=60)]
    labels = {"algorithm": "ECDSA_SHA_256"}
    await until_async(lambda: worker.metric("sigmill_sign_seconds_count", **labels) > 0, "it is counted")
    chunks = worker.metric("sigmill_sign_seconds_count", **labels)
    mean_s = worker.metric("sigmill_sign_seconds_sum", **labels) / chunks
    assert 20e-6 < mean_s < 1.0, "seconds: a P-256 signature of SoftHSM takes about 80 us"
    assert worker.metric("sigmill_verify_seconds_count", **labels) == chunks
    assert worker.metric("sigmill_module_seconds_total", token="acme") >= mean_s
    assert worker.metric("sigmill_claimed_digests_total", tenant="acme") == 64
    assert worker.metric("sigmill_job_digests_count") >= 1
    await until_async(
        lambda: worker.metric("sigmill_objective_jobs_total", **{"class": "standard", "result": "good"}) >= 1,
        "the job is in its account",
    )
    assert worker.metric("sigmill_build_info", process="worker") == 1
    await until_async(lambda: worker.metric("sigmill_worker_ready") == 1, "a tick has told so")
