"""Canaries on real tokens: recorded, charged to no tenant, only on tokens in use, and independent of
Redis.
"""

from __future__ import annotations

import os
from typing import Any

from bench.hsm.simhsm import read_log, write_rules
from queueing.protocol.algorithms import KeyKind
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import CANARY_TAILS, behind_simhsm, signed_for_jobs
from tests.support.waiting import until_async
from workers.journal.records import CanaryIntentRecord, CanaryOutcomeRecord, decode_record
from workers.journal.segments import read_segment, segments_of

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}
OFTEN = {"canary_s": 2.0}
LAST = "sigmill_canary_last_success_timestamp_seconds"


def runs(worker: WorkerProcess, token: str, outcome: str = "ok") -> float:
    return worker.metric("sigmill_canary_runs_total", token=token, outcome=outcome)


def recorded(rig: Rig) -> list[Any]:
    """Intents and outcomes of canaries in the log."""
    files = segments_of(rig.state_dir() / "wal")
    records = [decode_record(raw) for file in files for raw in read_segment(file)]
    return [record for record in records if isinstance(record, CanaryIntentRecord | CanaryOutcomeRecord)]


async def sign_one(rig: Rig, tenant: str = "acme") -> None:
    async with rig.client(tenant) as client:
        await client.sign("release", os.urandom(32), timeout_s=60)


async def test_a_token_in_use_is_seen_to_sign(make_rig: MakeRig) -> None:
    """Canaries are signed without work, with intent and outcome in the log, and no tenant's limits are
    charged.
    """
    limits = "\n[limits]\ndigests_per_day = 1\n"
    rig = make_rig(tenants=TWO, worker=OFTEN, more={"acme": limits})
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    await sign_one(rig)
    await until_async(lambda: runs(worker, "acme") >= 2, "two canaries of acme")
    await until_async(lambda: runs(worker, "service") >= 1, "one of the service's token")
    assert worker.metric(LAST, token="acme") > 0
    log = rig.directory / "acme.simhsm.log"
    assert len(signed_for_jobs(log)) == 1
    assert worker.metric("sigmill_signatures_total") == 1
    assert worker.metric("sigmill_claimed_digests_total") == 1
    canaries = [record for record in read_log(log) if record.input_tail in CANARY_TAILS]
    intents = [r for r in recorded(rig) if isinstance(r, CanaryIntentRecord) and r.token == "acme"]
    outcomes = {r.job_id: r.outcome for r in recorded(rig) if isinstance(r, CanaryOutcomeRecord)}
    assert len(intents) >= len(canaries) >= 2
    ended = [outcomes[intent.job_id] for intent in intents if intent.job_id in outcomes]
    assert ended
    assert set(ended) == {"ok"}


async def test_a_token_that_sleeps_is_let_sleep(make_rig: MakeRig) -> None:
    """No lane is started or kept for a canary, and the metric of its age is gone."""
    rig = make_rig(tenants=TWO, worker={**OFTEN, "lane_idle_s": 5.0})
    worker = rig.start_worker()
    await sign_one(rig)
    await until_async(lambda: runs(worker, "acme") >= 1, "a canary of acme")
    await until_async(lambda: "acme" not in worker.lanes(), "the idle lane has ended")
    await until_async(lambda: f'{LAST}{{token="acme"}}' not in worker.get("/metrics")[1], "it has no age")
    assert "globex" not in worker.lanes()
    assert runs(worker, "globex") == 0


async def test_redis_has_no_part_in_it(make_rig: MakeRig) -> None:
    """Canaries are signed while Redis is stopped."""
    rig = make_rig(tenants=TWO, worker=OFTEN)
    worker = rig.start_worker()
    await sign_one(rig)
    rig.redis.stop()
    await until_async(lambda: not worker.ready, "the worker has seen it")
    before = runs(worker, "acme")
    await until_async(lambda: runs(worker, "acme") >= before + 2, "canaries are signed")


async def test_a_token_that_does_not_sign_is_seen_by_its_canary(make_rig: MakeRig) -> None:
    """Before a job fails: its time of success stays, the other token's advances, and the worker is ready."""
    rig = make_rig(tenants=TWO, worker=OFTEN)
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    for tenant in TWO:
        await sign_one(rig, tenant)
    await until_async(lambda: runs(worker, "acme") >= 1, "a good canary")
    write_rules(rig.directory / "acme.faults", ["C_Sign rv=0x5"])  # CKR_GENERAL_ERROR
    await until_async(lambda: worker.events("canary.failed") > 0, "a bad one")
    stuck, well = worker.metric(LAST, token="acme"), worker.metric(LAST, token="globex")
    await until_async(lambda: worker.metric(LAST, token="globex") > well, "globex's token signs")
    assert worker.metric(LAST, token="acme") in {stuck, 0.0}
    assert worker.ready
