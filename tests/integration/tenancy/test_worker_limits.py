"""Limits through a whole worker: the configured rate, cut-off backlogs, and one HSM that tenants share."""

from __future__ import annotations

import asyncio
import time

import pytest

from queueing import LimitBacklog, Signature
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.jobs import JobHints, WireError, decode_result, encode_job
from queueing.unix_time import unix_ms
from tests.support.farm.farm import digests
from tests.support.farm.forging import Forger, enqueue, payload
from tests.support.rig.rig import MakeRig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async

P256_COST = 0.15


async def test_a_tenant_signs_at_its_rate(make_rig: MakeRig) -> None:
    """Burst and rate of the file, in digests of a P-256 key; the metrics say what held it back."""
    rate, burst = 400 * P256_COST, 64 * P256_COST
    limits = f"\n[limits]\nrate_per_s = {rate}\nburst = {burst}\n"
    rig = make_rig(more={"acme": limits})
    worker = rig.start_worker()
    async with rig.client() as client:
        await client.sign("release", digests(1)[0], timeout_s=60)
        began = time.monotonic()
        outcomes = [o async for o in client.sign_many("release", digests(1264), timeout_s=60)]
        took_s = time.monotonic() - began
    assert all(isinstance(outcome, Signature) for outcome in outcomes)
    assert 2.7 <= took_s <= 20.0, (
        f"{took_s:.2f} s for 1,264 digests, 64 of them at once; 3 on an idle machine"
    )
    assert worker.metric("sigmill_limiter_decisions_total", outcome="rate") > 0
    await until_async(
        lambda: worker.metric("sigmill_limiter_decisions_total", outcome="granted") >= 1264, "all are counted"
    )
    assert worker.metric("sigmill_jobs_returned_total", reason="limit.rate") == 0


@pytest.mark.slow
async def test_four_workers_together_keep_the_limit_within_two_percent(make_rig: MakeRig) -> None:
    """Over a minute, by what they say they signed; the limiter alone is measured by the bench's tenancy rows."""
    rate, size, seconds = 400, 32, 60.0
    rig = make_rig(
        more={"acme": f"\n[limits]\nrate_per_s = {rate * P256_COST}\nburst = {rate * P256_COST}\n"}
    )
    workers = [rig.start_worker(number) for number in range(1, 5)]
    forger, redis = Forger(key=rig.keys["acme"]), rig.connect()
    for i in range(int(1.3 * rate * seconds / size)):
        raw = payload(
            forger.seal(digests=tuple(digests(size, salt=str(i))), expires_at_ms=unix_ms() + 3_600_000)
        )
        await enqueue(redis, "acme", raw, keep_ms=3_600_000)

    def signed() -> float:
        return sum(worker.metric("sigmill_signatures_total", tenant="acme") for worker in workers)

    await until_async(lambda: signed() > 2 * rate, "the burst is used up")
    first, began = signed(), time.monotonic()
    await asyncio.sleep(seconds)
    last, took_s = signed(), time.monotonic() - began
    await redis.aclose()
    assert (last - first) / took_s == pytest.approx(rate, rel=0.02)
    assert all(worker.metric("sigmill_signatures_total", tenant="acme") > 0 for worker in workers)


async def test_a_stock_producer_cannot_go_round_the_rate(make_rig: MakeRig) -> None:
    """Jobs without hints are charged by the digests in their envelopes."""
    limits = f"\n[limits]\nrate_per_s = {100 * P256_COST}\nburst = {100 * P256_COST}\n"
    rig = make_rig(more={"acme": limits})
    rig.start_worker()
    forger = Forger(key=rig.keys["acme"])
    redis = rig.connect()
    jobs = []
    for i in range(6):
        sealed = forger.seal(digests=tuple(digests(100, salt=str(i))), idempotency_key=bytes([i]) * 16)
        jobs.append(f"stock-{i}")
        await redis.set(keyspace.job(jobs[-1]), encode_job(sealed, JobHints(), 1))
    began = time.monotonic()
    await redis.zadd(keyspace.queue("acme"), dict.fromkeys(jobs, 1))
    async with asyncio.timeout(100):
        while await redis.exists(*map(keyspace.result, jobs)) < len(jobs):  # noqa: ASYNC110  # no such event
            await asyncio.sleep(0.02)
    await redis.aclose()
    assert time.monotonic() - began >= 4.5


async def test_a_flood_round_the_submit_script_is_cut_off(make_rig: MakeRig) -> None:
    """Far over the cap the newest jobs end with limit.backlog; what was there before them is signed."""
    rig = make_rig(more={"acme": "\n[limits]\nbacklog_digests = 100\n"})
    redis = rig.connect()
    sealed = Forger(key=rig.keys["acme"]).seal(digests=tuple(digests(1)))
    for i in range(1000):
        await redis.set(keyspace.job(f"flood-{i:04}"), encode_job(sealed, JobHints(n=1), 1))
    await redis.zadd(keyspace.queue("acme"), {f"flood-{i:04}": 1 + i for i in range(1000)})
    worker = rig.start_worker()
    await until_async(lambda: worker.metric("sigmill_jobs_total") >= 1000, "all have ended")
    first = await redis.get(keyspace.result("flood-0000"))
    last = await redis.get(keyspace.result("flood-0999"))
    await redis.aclose()
    assert worker.metric("sigmill_jobs_total", outcome="limit.backlog") >= 256
    assert first is not None
    assert not isinstance(decode_result(first).outcome, LimitBacklog)
    assert last is not None
    refusal = decode_result(last).outcome
    assert isinstance(refusal, LimitBacklog)
    assert WireError.of(refusal).retry_after_s == 30.0


async def test_one_tenant_does_not_get_all_of_a_shared_hsm(make_rig: MakeRig) -> None:
    """While one tenant has work for a minute, another's single digest finds an operation free."""
    rig = make_rig(
        tenants={"loud": KeyKind.P256, "quiet": KeyKind.P256},
        token=dict.fromkeys(("loud", "quiet"), 'hsm = "shared"\nlanes = 4'),
        service="\n[hsms.shared]\nparallel_operations = 4\n",
    )
    rig.wrap = behind_simhsm(rig.directory, sign_us=5_000)
    worker = rig.start_worker()
    async with rig.client("loud") as loud, rig.client("quiet") as quiet:
        await quiet.sign("release", digests(1)[0], timeout_s=60)
        await loud.sign("release", digests(1)[0], timeout_s=60)
        await loud.submit("release", digests(20_000))
        busy = [0.0]

        def has_its_part() -> bool:
            busy.append(worker.metric("sigmill_sessions_busy", token="loud"))
            return busy[-1] >= 3

        await until_async(has_its_part, "it has its part")
        for digest in digests(20, salt="quiet"):
            await quiet.sign("release", digest, timeout_s=60)
            busy.append(worker.metric("sigmill_sessions_busy", token="loud"))
        assert max(busy) == 3
        assert worker.metric("sigmill_signatures_total", tenant="loud") < 10_000, (
            "it waited for the other's work"
        )
