"""``sigmill status``: a job from submit to release for client and operator, and the cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis

from queueing.protocol import keyspace
from queueing.unix_time import unix_ms
from tests.support.farm.farm import digests
from tests.support.monitoring.watched_rig import Watched
from tests.support.rig.rig import CLIENT, MakeRig, Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.sigmill_cli import Ran, sigmill
from tests.support.waiting import until_async


async def status(config: Path, *words: str) -> Ran:
    return await asyncio.to_thread(sigmill, "status", "--config", config, *words)


def service_file(rig: Rig, number: int = 1) -> Path:
    return rig.directory / f"sigmill-{number}.toml"


async def test_a_job_is_followed_from_submit_to_release(make_rig: MakeRig) -> None:
    """Queued, taken, given back by a drain, signed by another host: each host's log has its part."""
    rig = make_rig(token={"acme": "lanes = 1"}, worker={"drain_s": 4.0})
    as_it_is = rig.wrap
    rig.wrap = behind_simhsm(rig.directory, sign_us=2_000_000)  # half a minute for all of it
    first = rig.start_worker(1)
    async with rig.client() as client:
        job = await client.submit("release", digests(64), request_id="followed")
        (job_id,) = job.job_ids
        seen = await status(service_file(rig), "--json", job_id)
        assert (seen.code, seen.json()[0]["tenant"]) == (75, "acme")
        assert seen.json()[0]["state"] in {"queued", "running"}
        await until_async(
            lambda: first.metric("sigmill_sessions_busy", token="acme") > 0, "the job is being signed"
        )
        held = (await status(service_file(rig), "--json", job_id)).json()[0]
        assert held["state"] == "running"
        assert f".{first.pid}." in held["lease"]
        assert 0 < held["lease_left_s"] <= 15
        assert (held["attempts"], held["digests"]) == (1, 64)
        assert [event["what"] for event in held["history"]] == ["intent"]
        assert (held["history"][0]["client"], held["history"][0]["key"]) == (CLIENT, "release")
        first.child.stop(20)
        rig.wrap = as_it_is
        second = rig.start_worker(2)
        await client.wait(job, timeout_s=60)
        await client.sign("release", digests(1)[0], timeout_s=60)  # releases are written with what comes next
    done = (await status(service_file(rig, 2), "--json", job_id)).json()[0]
    assert (done["state"], done["signed"], done["failed"]) == ("done", 64, 0)
    assert done["result_left_s"] > 3000
    assert [event["what"] for event in done["history"]] == ["intent", "outcome", "committed"]
    assert {f".{second.pid}." in event["lease"] for event in done["history"]} == {True}
    before = (await status(service_file(rig, 1), "--json", job_id)).json()[0]
    assert [event["what"] for event in before["history"]][:1] == ["intent"]
    assert before["history"][-1]["what"].startswith("returned")
    text = await status(service_file(rig, 2), job_id)
    assert text.code == 0
    for words in ("64 signed, 0 failed", "intent", "attempt", "released", "other hosts have their own"):
        assert words in text.out + text.err
    assert all(digest.hex() not in text.out for digest in digests(64))
    theirs = await status(rig.directory / "clients" / "acme" / "client.toml", "--json", job_id)
    assert theirs.json() == [{"job_id": job_id, "state": "done", "signed": 64, "failed": 0}]


async def test_a_history_is_there_without_redis(make_rig: MakeRig) -> None:
    """The state is ``unknown``, and the log is on this host's disk."""
    rig = make_rig()
    worker = rig.start_worker()
    async with rig.client() as client:
        job = await client.submit("release", digests(3))
        await client.wait(job, timeout_s=60)
    worker.child.stop(20)
    rig.redis.stop()
    seen = await status(service_file(rig), "--json", job.job_ids[0])
    (line,) = seen.json()
    assert (seen.code, line["state"], line["error"]["code"]) == (75, "unknown", "queue.unavailable")
    assert [event["what"] for event in line["history"]] == ["intent", "outcome", "committed"]


async def test_what_is_asked_wrongly_is_said(watched: Watched) -> None:
    """A client's file without jobs, a file of another kind, an id without a tenant."""
    client = watched.rig.directory / "clients" / "acme" / "client.toml"
    assert "give job ids" in (await status(client)).err
    tenant = await status(watched.rig.tenant_file("acme"), "--json")
    assert (tenant.code, tenant.error()["code"]) == (2, "config.invalid")
    assert "--tenant" in (await status(watched.config, "stock-id")).err
    stock = await status(watched.config, "--json", "--tenant", "acme", "stock-id")
    assert (stock.code, stock.json()[0]["state"]) == (1, "unknown")


async def test_the_cluster(watched: Watched) -> None:
    """Workers, leased jobs and dead letters by tenant, as text and as JSON."""
    redis = watched.rig.connect()
    try:
        await _queue_something(redis)
        report = await _report(watched)
        text = await status(watched.config)
    finally:
        await redis.delete(keyspace.queue("globex"), keyspace.dead_letters("globex"))
        await redis.aclose()
    assert [worker["pid"] for worker in report["workers"]] == [watched.worker.pid]
    tenants = {line["tenant"]: line for line in report["tenants"]}
    assert (tenants["globex"]["leased"], tenants["globex"]["dead_letters"]) == (1, 1)
    assert report["dead_letters"] == 1
    assert report["redis_memory_used_bytes"] > 0
    assert (report["circuits_open"], report["drained"]) == ({}, {})
    assert text.code == 0
    for words in ("HOST", str(watched.worker.pid), "globex", "sigmill deadletter list"):
        assert words in text.out + text.err


async def _queue_something(redis: ArqRedis) -> None:
    """A job that is due tomorrow, and a dead letter, of the tenant that signs nothing meanwhile."""
    await redis.zadd(keyspace.queue("globex"), {"job": unix_ms() + 86_400_000})
    await redis.hset(keyspace.dead_letters("globex"), "job", "letter")  # type: ignore[misc]  # typed for both clients


async def _report(watched: Watched) -> dict[str, Any]:
    ran = await status(watched.config, "--json")
    assert ran.code == 0
    (report,) = ran.json()
    return report
