"""Growth of the log by jobs that no client has signed: counters, not records."""

from __future__ import annotations

import os

import pytest

from queueing.protocol import keyspace
from queueing.protocol.client_keys import ClientKey
from tests.support.farm.forging import Forger, payload
from tests.support.rig.rig import MakeRig, Rig
from tests.support.waiting import until_async

JOBS = 100


def log_bytes(rig: Rig) -> int:
    return sum(file.stat().st_size for file in (rig.state_dir() / "wal").glob("*.wal"))


async def submit_past_the_client(rig: Rig, kind: bytes, payloads: list[bytes]) -> None:
    """Write jobs as a tenant's Redis user can, under ids as long as a claim takes."""
    redis = rig.connect()
    try:
        for number, raw in enumerate(payloads):
            job_id = b"{acme}" + kind + b"%032x" % number + b"x" * 400
            await redis.set(b"arq:job:" + job_id, raw, px=600_000)
            await redis.zadd(keyspace.queue("acme"), {job_id: 1})
        await redis.publish(keyspace.doorbell("acme"), "acme")
    finally:
        await redis.aclose()


async def test_unauthenticated_jobs_leave_no_records(make_rig: MakeRig) -> None:
    """Rubbish adds nothing to the log; of forged envelopes the first round does at most, however large they are."""
    rig = make_rig()
    worker = rig.start_worker()

    def refused(reason: str) -> float:
        return worker.metric("sigmill_unauthenticated_jobs_total", tenant="acme", reason=reason)

    before = log_bytes(rig)
    await submit_past_the_client(rig, b"rubbish", [b"\xc1"] * JOBS)
    await until_async(lambda: refused("envelope.malformed") == JOBS, "all rubbish is refused")
    assert log_bytes(rig) - before < 10_000
    forger = Forger(key=ClientKey.generate())
    forged = [payload(forger.seal(digests=(os.urandom(32),)))]
    await submit_past_the_client(rig, b"first", forged)
    await until_async(lambda: refused("envelope.signature") == 1, "a lane refuses the forged envelope")
    before = log_bytes(rig)
    large = [payload(forger.seal(digests=tuple(os.urandom(128) for _ in range(1024))))] * JOBS
    await submit_past_the_client(rig, b"large", large)
    await until_async(lambda: refused("envelope.signature") == JOBS + 1, "the worker refuses the others")
    assert log_bytes(rig) - before < 100_000, "less than one envelope"
    await until_async(lambda: worker.events("jobs.unauthenticated") >= 1, "it is logged")


@pytest.mark.parametrize("changes", [{}, {"audience": "another-cluster"}], ids=["signature", "audience"])
async def test_of_a_flood_of_large_forged_envelopes_none_is_in_the_log(
    make_rig: MakeRig, changes: dict[str, str]
) -> None:
    """Also of the first ones, before any was refused, in whatever way they are forged."""
    rig = make_rig()
    worker = rig.start_worker()
    forger = Forger(key=ClientKey.generate())
    large = payload(forger.seal(digests=tuple(os.urandom(128) for _ in range(1024)), **changes))
    assert len(large) > 133_000

    def refused() -> float:
        reason = "envelope.audience" if changes else "envelope.signature"
        return worker.metric("sigmill_unauthenticated_jobs_total", tenant="acme", reason=reason)

    before = log_bytes(rig)
    await submit_past_the_client(rig, b"flood", [large] * 200)
    await until_async(lambda: refused() == 200, "all forged envelopes are refused")
    after = log_bytes(rig)
    assert after - before < 20_000, f"{before} bytes before, {after} after 200 of {len(large)} bytes"
