"""The faults: how each is done and undone. Each returns when it is healed; then the clock of its recovery runs.

``PROMISED`` is what the documents promise for it; the checker allows a busy machine some seconds more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tests.faults import redis_faults
from tests.faults.history import Fault
from tests.faults.load import Load
from tests.faults.schedule import Draw
from tests.faults.stand import LEASE_S, ROOT, Stand, eventually
from tests.support.rig import command_of

IN_WORK_S = 2.0
FROZEN_S = 20.0

SLACK_S = 10.0
"""What a loaded two-core machine may take longer: processes start in seconds there."""


@dataclass(slots=True)
class Scene:
    """Where a fault happens; it may name digests that the module breaks at, or refuses, and processes that it left
    frozen, for others to end."""

    stand: Stand
    load: Load
    rng: Random
    breaks: list[bytes] = field(default_factory=list)
    refuses: list[bytes] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)

    async def aftermath(self) -> None:
        """Wait for the end of what was left frozen, which later jobs would meet: it is no other fault's matter."""
        for pid in self.frozen:
            with contextlib.suppress(AssertionError):  # it is found only by work that is sent to it
                await eventually(partial(_has_ended, pid), "it was ended", within_s=FROZEN_S)


def _has_ended(pid: int) -> bool:
    return not command_of(pid)


Injection = Callable[[Scene, Draw], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of fault. ``promised_s``: all that was open at the heal has ended by then, on an idle machine."""

    inject: Injection
    promised_s: float


async def inject(scene: Scene, name: str, draw: Draw) -> Fault:
    """Do it, heal it, and say when."""
    kind = KINDS[name]
    part = Scene(scene.stand, scene.load, scene.rng)
    began_at = time.time()
    await kind.inject(part, draw)
    scene.frozen += part.frozen
    return Fault(
        at=time.time(),
        kind=name,
        began_at=began_at,
        bound_s=kind.promised_s + SLACK_S,
        breaks=tuple(part.breaks),
        refuses=tuple(part.refuses),
    )


# ---- workers


async def _in_work(scene: Scene, number: int) -> None:
    """Wait for a moment when the worker has jobs in its hands, where it comes soon."""
    worker = scene.stand.workers[number]
    with contextlib.suppress(AssertionError):
        await eventually(lambda: worker.metric("sigmill_jobs_in_flight") > 0, "it works", within_s=IN_WORK_S)


async def worker_kill(scene: Scene, draw: Draw) -> None:
    await _in_work(scene, draw.worker)
    await scene.stand.kill_worker(draw.worker)
    await asyncio.sleep(draw.hold_s)
    await scene.stand.start_worker(draw.worker)


async def _pause(pid: int, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def worker_pause(scene: Scene, draw: Draw) -> None:
    await _pause(scene.stand.workers[draw.worker].pid, min(draw.hold_s, LEASE_S / 2))


async def worker_zombie(scene: Scene, draw: Draw) -> None:
    """It sleeps past the end of its leases, and wakes to find its jobs with another."""
    await _in_work(scene, draw.worker)
    await _pause(scene.stand.workers[draw.worker].pid, LEASE_S * 1.5 + draw.hold_s)


async def worker_term(scene: Scene, draw: Draw) -> None:
    await _in_work(scene, draw.worker)
    await scene.stand.stop_worker(draw.worker)
    await scene.stand.start_worker(draw.worker)


async def worker_term_twice(scene: Scene, draw: Draw) -> None:
    await scene.stand.stop_worker(draw.worker, again_after_s=draw.hold_s / 10)
    await scene.stand.start_worker(draw.worker)


async def rolling_restart(scene: Scene, draw: Draw) -> None:
    for number in sorted(scene.stand.workers):
        await scene.stand.stop_worker(number)
        await scene.stand.start_worker(number)


async def all_workers_killed(scene: Scene, draw: Draw) -> None:
    numbers = sorted(scene.stand.workers)
    for number in numbers:
        await scene.stand.kill_worker(number)
    for number in numbers:
        await scene.stand.start_worker(number)


async def worker_reload(scene: Scene, draw: Draw) -> None:
    """SIGHUP in the middle of work, several times."""
    for _ in range(3):
        os.kill(scene.stand.workers[draw.worker].pid, signal.SIGHUP)
        await asyncio.sleep(draw.hold_s / 3)


# ---- lanes


async def _signal_lane(scene: Scene, draw: Draw, number: signal.Signals) -> None:
    pid = scene.stand.lane(draw.worker, draw.tenant)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        await asyncio.sleep(0.1)
        scene.stand.keeper.mend()


async def lane_kill(scene: Scene, draw: Draw) -> None:
    await _signal_lane(scene, draw, signal.SIGKILL)


async def lane_segv(scene: Scene, draw: Draw) -> None:
    await _signal_lane(scene, draw, signal.SIGSEGV)


async def lane_pause(scene: Scene, draw: Draw) -> None:
    pid = scene.stand.lane(draw.worker, draw.tenant)
    if pid is not None:
        await _pause(pid, draw.hold_s)


async def lane_frozen(scene: Scene, draw: Draw) -> None:
    """It never wakes: the worker has to end it."""
    scene.frozen += [pid for pid in [scene.stand.lane(draw.worker, draw.tenant)] if pid is not None]
    await _signal_lane(scene, draw, signal.SIGSTOP)


# ---- the module


async def _rules(scene: Scene, draw: Draw, *rules: str, hold_s: float | None = None) -> None:
    """The module of the tenant's token has these faults for a while."""
    scene.stand.rules(draw.tenant, *rules)
    await asyncio.sleep(draw.hold_s if hold_s is None else hold_s)
    scene.stand.rules(draw.tenant)


async def sign_error(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign rv={draw.retryable:#x} every={draw.nth}")


async def sign_init_error(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_SignInit rv={draw.retryable:#x} every={draw.nth}")


async def length_query_error(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_SignLength rv={draw.retryable:#x} every={draw.nth}")


async def scarce(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign rv={draw.scarce:#x} every={1 + draw.nth}")


async def lane_in_doubt(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_SignInit rv={draw.lane:#x} nth={draw.nth}", hold_s=0.3)


async def find_error(scene: Scene, draw: Draw) -> None:
    """Keys are not found by a lane that has to begin anew."""
    scene.stand.rules(draw.tenant, f"C_FindObjects rv={draw.retryable:#x}")
    await lane_kill(scene, draw)
    await _rules(scene, draw, f"C_FindObjects rv={draw.retryable:#x}")


async def open_session_error(scene: Scene, draw: Draw) -> None:
    scene.stand.rules(draw.tenant, f"C_OpenSession rv={draw.retryable:#x}")
    await lane_kill(scene, draw)
    await _rules(scene, draw, f"C_OpenSession rv={draw.retryable:#x}")


async def call_hangs(scene: Scene, draw: Draw) -> None:
    """One call never returns; the lane is ended when its time is over, which is part of the recovery."""
    await _rules(scene, draw, f"C_Sign hang nth={draw.nth}", hold_s=0.3)


async def slow_calls(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, "C_Sign hang=0.2 every=3")


async def wrong_signature(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign corrupt nth={draw.nth}", hold_s=0.3)


async def module_exits(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign exit=5 nth={draw.nth}", hold_s=0.2)


async def module_crashes(scene: Scene, draw: Draw) -> None:
    await _rules(scene, draw, f"C_Sign segv nth={draw.nth}", hold_s=0.2)


async def device_removed(scene: Scene, draw: Draw) -> None:
    code = f"rv={draw.token:#x}"
    await _rules(
        scene, draw, *(f"{name} {code}" for name in ("C_SignInit", "C_OpenSession", "C_GetTokenInfo"))
    )


async def token_away(scene: Scene, draw: Draw) -> None:
    """The token's directory is elsewhere for a while (SoftHSM's way to be unplugged)."""
    folder = scene.stand.token_folder(draw.tenant)
    away = folder.with_name("away")
    folder.rename(away)
    folder.mkdir()
    await asyncio.sleep(draw.hold_s)
    await asyncio.to_thread(_put_back, folder, away)


def _put_back(folder: object, away: object) -> None:
    import shutil
    from pathlib import Path

    assert isinstance(folder, Path)
    assert isinstance(away, Path)
    shutil.rmtree(folder)
    away.rename(folder)


async def poison_job(scene: Scene, draw: Draw) -> None:
    """A job at which the module crashes each time, among others: it alone is set aside."""
    load, tenant = scene.load, draw.tenant
    digests = [scene.rng.randbytes(32) for _ in range(3)]
    scene.breaks.append(digests[1])
    scene.stand.rules(tenant, f"C_Sign segv tail={digests[1].hex()}")
    client = load.clients[tenant][0]
    job = await load.accepted(client, digests, load.request_id())
    if job is not None:
        await load.answered(client, job)
    scene.stand.rules(tenant)


async def refused_digest(scene: Scene, draw: Draw) -> None:
    """One digest that the token refuses for good fails alone."""
    load, tenant = scene.load, draw.tenant
    digests = [scene.rng.randbytes(32) for _ in range(6)]
    bad = digests[draw.nth % 6]
    scene.refuses.append(bad)
    scene.stand.rules(tenant, f"C_Sign rv={draw.final:#x} tail={bad.hex()}")
    client = load.clients[tenant][0]
    job = await load.accepted(client, digests, load.request_id())
    if job is not None:
        await load.answered(client, job)
    scene.stand.rules(tenant)


# ---- clients


async def many_submit_the_same(scene: Scene, draw: Draw) -> None:
    """The same request from all clients, several times each, before and after it is done."""
    load = scene.load
    digests, request = load.digests(draw.tenant, scene.rng), load.request_id()
    for _ in range(2):
        clients = load.clients[draw.tenant] * 4
        jobs = await asyncio.gather(*(load.accepted(client, digests, request) for client in clients))
        waits = zip(clients, jobs, strict=True)
        await asyncio.gather(*(load.answered(client, job) for client, job in waits if job is not None))


async def conflicting_submit(scene: Scene, draw: Draw) -> None:
    """Other content under the id of a job that is there: refused, and nothing of it is signed."""
    load, client = scene.load, scene.load.clients[draw.tenant][0]
    request, digests = load.request_id(), load.digests(draw.tenant, scene.rng)
    job = await load.accepted(client, digests, request)
    for _ in range(2):  # while it waits or is signed, and when it is done
        other = load.digests(draw.tenant, scene.rng)
        await client.submit(other, request, in_place_of=digests)
        if job is not None:
            await load.answered(client, job)


async def client_killed(scene: Scene, draw: Draw) -> None:
    """A client's process is killed once it has submitted, or before; another one asks again under the same request."""
    load, tenant = scene.load, draw.tenant
    digests, request = load.digests(tenant, scene.rng), load.request_id()
    file = scene.stand.rig.directory / "clients" / tenant / "client.toml"
    words = ["-m", "tests.faults.client_process", str(file), request, *(digest.hex() for digest in digests)]
    with (scene.stand.rig.directory / "killed-client.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT
        )
        assert process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3 * draw.hold_s):
                await process.stdout.readline()
        with contextlib.suppress(ProcessLookupError):  # it may have its result already
            process.kill()
        await process.wait()
    client = load.clients[tenant][0]
    job = await load.accepted(client, digests, request)
    if job is not None:
        await load.answered(client, job)


# ---- the disk


async def log_disk_full(scene: Scene, draw: Draw) -> None:
    """No file of the worker grows (write(2), EFBIG for ENOSPC); lanes that run do not have the limit."""
    import resource

    pid = scene.stand.workers[draw.worker].pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    await asyncio.sleep(draw.hold_s)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    scene.stand.keeper.mend()


def _redis(fault: redis_faults.RedisFault) -> Injection:
    async def inject_it(scene: Scene, draw: Draw) -> None:
        await fault(scene.stand.redis, draw.hold_s)

    return inject_it


LANE_S = 5.0
"""A lane is replaced, or a token used again after a pause, within this."""

KINDS: dict[str, Kind] = {
    "worker.kill": Kind(inject=worker_kill, promised_s=LEASE_S + 2),
    "worker.kill-all": Kind(inject=all_workers_killed, promised_s=LEASE_S + 2),
    "worker.pause": Kind(inject=worker_pause, promised_s=LEASE_S + 2),
    "worker.zombie": Kind(inject=worker_zombie, promised_s=LEASE_S + 2),
    "worker.term": Kind(inject=worker_term, promised_s=2),
    "worker.term-twice": Kind(inject=worker_term_twice, promised_s=LEASE_S + 2),
    "worker.rolling-restart": Kind(inject=rolling_restart, promised_s=2),
    "worker.reload": Kind(inject=worker_reload, promised_s=2),
    "worker.log-disk-full": Kind(inject=log_disk_full, promised_s=LEASE_S + 2),
    "lane.kill": Kind(inject=lane_kill, promised_s=LANE_S),
    "lane.segv": Kind(inject=lane_segv, promised_s=LANE_S),
    "lane.pause": Kind(inject=lane_pause, promised_s=2),
    "lane.frozen": Kind(inject=lane_frozen, promised_s=LANE_S + 7),
    "hsm.sign-error": Kind(inject=sign_error, promised_s=LANE_S),
    "hsm.sign-init-error": Kind(inject=sign_init_error, promised_s=LANE_S),
    "hsm.length-query-error": Kind(inject=length_query_error, promised_s=LANE_S),
    "hsm.scarce": Kind(inject=scarce, promised_s=LANE_S),
    "hsm.lane-in-doubt": Kind(inject=lane_in_doubt, promised_s=LANE_S),
    "hsm.find-error": Kind(inject=find_error, promised_s=LANE_S),
    "hsm.open-session-error": Kind(inject=open_session_error, promised_s=LANE_S),
    "hsm.call-hangs": Kind(inject=call_hangs, promised_s=LANE_S + 3),
    "hsm.slow-calls": Kind(inject=slow_calls, promised_s=2),
    "hsm.wrong-signature": Kind(inject=wrong_signature, promised_s=LANE_S),
    "hsm.exits": Kind(inject=module_exits, promised_s=LANE_S),
    "hsm.crashes": Kind(inject=module_crashes, promised_s=LANE_S),
    "hsm.device-removed": Kind(inject=device_removed, promised_s=LANE_S),
    "hsm.token-away": Kind(inject=token_away, promised_s=LANE_S),
    "hsm.poison-job": Kind(inject=poison_job, promised_s=LANE_S),
    "hsm.refused-digest": Kind(inject=refused_digest, promised_s=2),
    "client.same-request": Kind(inject=many_submit_the_same, promised_s=2),
    "client.killed": Kind(inject=client_killed, promised_s=2),
    "client.conflict": Kind(inject=conflicting_submit, promised_s=2),
    **{
        name: Kind(inject=_redis(fault), promised_s=promised_s)
        for name, (fault, promised_s) in redis_faults.FAULTS.items()
    },
}
