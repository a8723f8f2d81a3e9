"""``/healthz`` is the loop alone; ``/readyz`` is whether this worker can claim and a lane of it can sign."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import sys
import time
from pathlib import Path

from bench.hsm.simhsm import write_rules
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig, Rig, WorkerProcess
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.waiting import until_async

TWO = {"acme": KeyKind.P256, "globex": KeyKind.P256}
AWAY = ["C_Sign rv=0xe0"]  # CKR_TOKEN_NOT_PRESENT
YES, NO = http.client.OK, http.client.SERVICE_UNAVAILABLE

STUCK_ON_SIGNAL = """
import os, runpy, signal, sys, time
go_on = sys.argv[1]

def hang(*_):
    while not os.path.exists(go_on):
        time.sleep(0.02)

signal.signal(signal.SIGUSR1, hang)
sys.argv = sys.argv[5:]
runpy.run_module("workers.cli", run_name="__main__")
"""
"""Runs the command that follows it; at SIGUSR1 the thread of its loop hangs, as in a call that does not come back, until a file is there."""


def probes(worker: WorkerProcess) -> tuple[int, int]:
    """The answers of /healthz and /readyz."""
    return worker.get("/healthz")[0], worker.get("/readyz")[0]


async def stays(worker: WorkerProcess, expected: tuple[int, int], seconds: float) -> None:
    """Both probes have these answers for so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert probes(worker) == expected
        await asyncio.sleep(0.05)


def with_two(make_rig: MakeRig) -> Rig:
    rig = make_rig(tenants=TWO)
    rig.wrap = behind_simhsm(rig.directory)
    return rig


def take_away(rig: Rig, tenant: str) -> None:
    write_rules(rig.directory / f"{tenant}.faults", AWAY)


async def needs(rig: Rig, worker: WorkerProcess, tenant: str) -> None:
    """Submit a job for a token that is away, and wait until its lane has failed."""
    async with rig.client(tenant) as client:
        await client.submit("release", digests(4, salt=tenant))
    await until_async(
        lambda: worker.metric("sigmill_lane_restarts_total", token=tenant) > 0, f"{tenant}'s token was tried"
    )


async def test_one_tenants_token_is_not_the_workers_trouble(make_rig: MakeRig) -> None:
    """It is ready before any lane was started, and while one token of two fails again and again."""
    rig = with_two(make_rig)
    worker = rig.start_worker()
    assert set(worker.lanes()) <= {"service"}
    take_away(rig, "acme")
    await needs(rig, worker, "acme")
    await stays(worker, (YES, YES), 3.0)  # globex had no work yet
    async with rig.client("globex") as client:
        await client.sign("release", os.urandom(32), timeout_s=60)
    await stays(worker, (YES, YES), 1.0)


async def test_a_worker_whose_tokens_are_all_away_is_not_ready(make_rig: MakeRig) -> None:
    """For five seconds, in which they are tried again, it is alive and not ready; it is ready when one
    signs.
    """
    rig = with_two(make_rig)
    worker = rig.start_worker()
    for tenant in TWO:
        take_away(rig, tenant)
        await needs(rig, worker, tenant)
    await until_async(lambda: probes(worker) == (YES, NO), "it says so")
    await stays(worker, (YES, NO), 5.0)
    write_rules(rig.directory / "acme.faults", [])
    await until_async(lambda: probes(worker) == (YES, YES), "acme's token signs")


async def test_a_worker_that_never_saw_redis_is_not_ready(make_rig: MakeRig) -> None:
    """From its first answer on, until Redis is there."""
    rig = make_rig(redis=False)
    worker = rig.start_worker(ready=False)
    await until_async(lambda: probes(worker) != (0, 0), "it answers")
    await stays(worker, (YES, NO), 2.0)
    await asyncio.to_thread(rig.redis.start)
    await until_async(lambda: probes(worker) == (YES, YES), "it is ready")


async def test_a_worker_that_drains_is_alive_and_not_ready(make_rig: MakeRig) -> None:
    """While it finishes what is in the HSM, /healthz is 200 and /readyz is 503."""
    rig = make_rig()
    rig.wrap = behind_simhsm(rig.directory)
    worker = rig.start_worker()
    rules = rig.directory / "acme.faults"
    write_rules(rules, ["C_Sign hold"])
    async with rig.client() as client:
        await client.submit("release", digests(1))
        await until_async(
            lambda: worker.metric("sigmill_sessions_busy", token="acme") == 1, "it is in the HSM"
        )
        os.kill(worker.pid, signal.SIGTERM)
        await until_async(lambda: worker.events("service.draining") == 1, "it drains")
        assert probes(worker) == (YES, NO)
        await asyncio.sleep(1.0)  # meanwhile it stays so
        assert probes(worker) == (YES, NO)
        write_rules(rules, [])
    await until_async(lambda: not worker.alive, "it has ended")


async def test_a_worker_whose_loop_is_stuck_is_neither_alive_nor_ready(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    """``/healthz`` depends on the event loop alone, not on Redis or the HSMs."""
    rig = make_rig()
    go_on = tmp_path / "go-on"
    worker = rig.start_worker(before=[sys.executable, "-c", STUCK_ON_SIGNAL, str(go_on)])
    os.kill(worker.pid, signal.SIGUSR1)
    await until_async(lambda: probes(worker) == (NO, NO), "it is stuck")
    go_on.touch()
    await until_async(lambda: probes(worker) == (YES, YES), "it answers again")
