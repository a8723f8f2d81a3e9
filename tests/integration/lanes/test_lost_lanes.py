"""Lanes that crash, are killed, hang or stop: other lanes sign their digests, and no client has an error."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time

import pytest

from bench.hsm.simhsm import read_log, write_rules
from queueing import Signature, SigningClient
from queueing.errors import JobPoisoned
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async


async def sign_all(client: SigningClient, given: list[bytes]) -> None:
    """Every digest has its signature."""
    outcomes = [o async for o in client.sign_many("release", given, timeout_s=40)]
    assert [type(outcome) for outcome in outcomes] == [Signature] * len(given)


def rig_with(make_rig: MakeRig, *rules: str, sign_us: int = 1_000, **settings: object) -> Rig:
    rig = make_rig(**settings)
    rig.wrap = behind_simhsm(rig.directory, sign_us=sign_us)
    write_rules(rig.directory / "acme.faults", rules)
    return rig


def restarts(worker: WorkerProcess, reason: str) -> float:
    return worker.metric("sigmill_lane_restarts_total", token="acme", reason=reason)


async def test_lanes_that_crash_in_the_module_lose_nothing(make_rig: MakeRig) -> None:
    """A segfault, an exit(5) and a SIGKILL in the middle of chunks: every client gets every signature."""
    rig = rig_with(make_rig, "C_Sign segv nth=20 once")
    worker = rig.start_worker()
    async with rig.client() as client:
        await sign_all(client, digests(200, salt="segv"))
        await until_async(lambda: restarts(worker, "signal_11") == 1, "a lane crashed")
        write_rules(rig.directory / "acme.faults", ["# again", "C_Sign exit=5 nth=20 once"])
        await sign_all(client, digests(200, salt="exit"))
        await until_async(lambda: restarts(worker, "exit_5") == 1, "a lane exited")
        write_rules(rig.directory / "acme.faults", [])
        work = asyncio.create_task(sign_all(client, digests(800, salt="kill")))
        before = worker.metric("sigmill_signatures_total")
        await until_async(lambda: worker.metric("sigmill_signatures_total") > before, "it is under way")
        for pid in worker.lanes()["acme"]:
            os.kill(pid, signal.SIGKILL)
        await work
        await until_async(lambda: restarts(worker, "signal_9") >= 1, "a lane was killed")
    assert worker.metric("sigmill_jobs_total", outcome="job.poisoned") == 0


async def test_a_call_that_hangs_ends_its_lane(make_rig: MakeRig) -> None:
    """The lane's own watchdog ends it after call_timeout_s; another one signs what it had."""
    rig = rig_with(make_rig, "C_Sign hang nth=20 once", token={"acme": "call_timeout_s = 1.0"})
    worker = rig.start_worker()
    async with rig.client() as client:
        began = time.monotonic()
        await sign_all(client, digests(200))
    assert restarts(worker, "CALL_TIMED_OUT") == 1
    assert time.monotonic() - began > 1.0


@pytest.mark.parametrize(
    "call",
    [
        "C_Login",
        pytest.param("C_Initialize", marks=pytest.mark.slow),
        pytest.param("C_OpenSession", marks=pytest.mark.slow),
    ],
)
async def test_a_start_that_hangs_holds_up_no_other_tenant(make_rig: MakeRig, call: str) -> None:
    """Another tenant behind the same module signs, since each step of a lane's start has its limit."""
    tenants = {"acme": KeyKind.P256, "globex": KeyKind.P256}
    limits = "call_timeout_s = 1.0\nlogin_timeout_s = 3.0"
    rig = rig_with(make_rig, f"{call} hang", tenants=tenants, token={"acme": limits})
    reason = "signal_14" if call == "C_Initialize" else "LOGIN_TIMED_OUT"
    worker = rig.start_worker()
    async with rig.client("acme") as unlucky, rig.client("globex") as client:
        job = await unlucky.submit("release", digests(10))
        await until_async(lambda: "acme" in worker.lanes(), "its lane starts")
        signature = await client.sign("release", os.urandom(32), timeout_s=60)
        await until_async(lambda: restarts(worker, reason) >= 1, "it was ended")
        write_rules(rig.directory / "acme.faults", [])
        outcomes = await unlucky.wait(job, timeout_s=40)
    assert signature.verified
    assert [type(outcome) for outcome in outcomes] == [Signature] * 10


async def test_a_lane_that_stops_is_killed_and_replaced(make_rig: MakeRig) -> None:
    """After SIGSTOP it cannot end itself: the worker kills it, and its lease is kept meanwhile."""
    rig = rig_with(
        make_rig, sign_us=3_000, token={"acme": "call_timeout_s = 0.5\nlanes = 1"}, worker={"lease_s": 3.0}
    )
    worker = rig.start_worker()
    async with rig.client() as client:
        work = asyncio.create_task(sign_all(client, digests(500)))
        await until_async(lambda: worker.metric("sigmill_signatures_total") > 0, "it is under way")
        (pid,) = worker.lanes()["acme"]
        os.kill(pid, signal.SIGSTOP)
        await work
    assert worker.events("lane.silent") >= 1
    assert worker.metric("sigmill_commits_fenced_total") == 0, "the lease was lost"


async def test_a_digest_that_breaks_every_lane_is_set_aside_alone(make_rig: MakeRig) -> None:
    """After three lanes its job is poisoned; the jobs that shared its chunks are signed."""
    bad = hashlib.sha256(b"poison").digest()
    rig = rig_with(make_rig, f"C_Sign exit=5 tail={bad[-8:].hex()}")
    worker = rig.start_worker()
    async with rig.client() as client:
        jobs = [client.sign_many("release", digests(64, salt=f"{i}"), timeout_s=40) for i in range(8)]
        poisoned, *good = await asyncio.gather(
            client.sign("release", bad, timeout_s=40),
            *(_collect(job) for job in jobs),
            return_exceptions=True,
        )
    assert isinstance(poisoned, JobPoisoned)
    for outcomes in good:
        assert isinstance(outcomes, list)
        assert [type(outcome) for outcome in outcomes] == [Signature] * 64
    assert 3 <= restarts(worker, "exit_5") <= 4


async def _collect(source: object) -> list[object]:
    return [outcome async for outcome in source]  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", ["0x30", "0x31", "0x101"])
async def test_failures_of_the_device_are_retried_within_the_service(make_rig: MakeRig, code: str) -> None:
    """A device error, no memory and a lost login occur, and each digest has its signature."""
    rig = rig_with(make_rig, f"C_Sign rv={code} nth=10 once", f"C_Sign rv={code} nth=60 once")
    worker = rig.start_worker()
    async with rig.client() as client:
        await sign_all(client, digests(300))
    log = read_log(rig.directory / "acme.simhsm.log")
    assert {record.rv for record in log} == {0, int(code, 16)}
    assert worker.alive


async def test_a_token_that_goes_away_gives_its_jobs_back(make_rig: MakeRig) -> None:
    """CKR_DEVICE_REMOVED at every call: the circuit opens, the jobs stay queued and are signed when it is back."""
    rig = rig_with(make_rig, "C_Sign rv=0x32")
    worker = rig.start_worker()
    async with rig.client() as client:
        job = await client.submit("release", digests(100))
        await until_async(lambda: worker.metric("sigmill_token_circuit_open", token="acme") == 1, "it opens")
        await until_async(
            lambda: worker.metric("sigmill_jobs_returned_total", reason="token.unavailable") >= 1,
            "jobs go back",
        )
        write_rules(rig.directory / "acme.faults", [])
        outcomes = await client.wait(job, timeout_s=60)
    assert [type(outcome) for outcome in outcomes] == [Signature] * 100
    await until_async(lambda: worker.metric("sigmill_token_circuit_open", token="acme") == 0, "it closes")
