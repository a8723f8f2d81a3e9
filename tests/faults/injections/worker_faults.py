"""Faults of workers, of their lanes and of their disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time

from tests.faults.harness.harness import eventually
from tests.faults.harness.observed_rig import LEASE_S
from tests.faults.injections.scene import Scene
from tests.faults.injections.schedule import Draw
from tests.support.rig.processes import descendants

IN_WORK_S = 2.0


async def _in_work(scene: Scene, number: int) -> None:
    """Wait for a moment when the worker has jobs in its hands, where it comes soon."""
    worker = scene.harness.workers[number]
    with contextlib.suppress(AssertionError):
        await eventually(lambda: worker.metric("sigmill_jobs_in_flight") > 0, "it works", within_s=IN_WORK_S)


async def worker_kill(scene: Scene, draw: Draw) -> None:
    await _in_work(scene, draw.worker)
    await scene.harness.kill_worker(draw.worker)
    await asyncio.sleep(draw.hold_s)
    await scene.harness.start_worker(draw.worker)


async def _pause(pid: int, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


async def worker_pause(scene: Scene, draw: Draw) -> None:
    await _pause(scene.harness.workers[draw.worker].pid, min(draw.hold_s, LEASE_S / 2))


async def worker_zombie(scene: Scene, draw: Draw) -> None:
    """It sleeps past the end of its leases, and wakes to find its jobs with another."""
    await _in_work(scene, draw.worker)
    await _pause(scene.harness.workers[draw.worker].pid, LEASE_S * 1.5 + draw.hold_s)


async def worker_term(scene: Scene, draw: Draw) -> None:
    await _in_work(scene, draw.worker)
    await scene.harness.stop_worker(draw.worker)
    await scene.harness.start_worker(draw.worker)


async def worker_term_twice(scene: Scene, draw: Draw) -> None:
    await scene.harness.stop_worker(draw.worker, again_after_s=draw.hold_s / 10)
    await scene.harness.start_worker(draw.worker)


async def rolling_restart(scene: Scene, draw: Draw) -> None:
    for number in sorted(scene.harness.workers):
        await scene.harness.stop_worker(number)
        await scene.harness.start_worker(number)


async def all_workers_killed(scene: Scene, draw: Draw) -> None:
    numbers = sorted(scene.harness.workers)
    for number in numbers:
        await scene.harness.kill_worker(number)
    for number in numbers:
        await scene.harness.start_worker(number)


async def worker_reload(scene: Scene, draw: Draw) -> None:
    """SIGHUP in the middle of work, several times."""
    for _ in range(3):
        os.kill(scene.harness.workers[draw.worker].pid, signal.SIGHUP)
        await asyncio.sleep(draw.hold_s / 3)


# ---- lanes


async def _signal_lane(scene: Scene, draw: Draw, number: signal.Signals) -> None:
    pid = scene.harness.lane(draw.worker, draw.tenant)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        await asyncio.sleep(0.1)
        scene.harness.keeper.mend()


async def lane_kill(scene: Scene, draw: Draw) -> None:
    await _signal_lane(scene, draw, signal.SIGKILL)


async def lane_segv(scene: Scene, draw: Draw) -> None:
    await _signal_lane(scene, draw, signal.SIGSEGV)


async def lane_pause(scene: Scene, draw: Draw) -> None:
    pid = scene.harness.lane(draw.worker, draw.tenant)
    if pid is not None:
        await _pause(pid, draw.hold_s)


async def lane_frozen(scene: Scene, draw: Draw) -> None:
    """It never wakes: the worker has to end it."""
    scene.frozen += [pid for pid in [scene.harness.lane(draw.worker, draw.tenant)] if pid is not None]
    await _signal_lane(scene, draw, signal.SIGSTOP)


# ---- the disk


async def log_disk_full(scene: Scene, draw: Draw) -> None:
    """No file of the worker grows (write(2), EFBIG for ENOSPC). Its lanes are spared, also those that start meanwhile: the
    disk of the module's own log and of SoftHSM's tokens is another one.
    """
    pid = scene.harness.workers[draw.worker].pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    healed_at = time.monotonic() + draw.hold_s
    while time.monotonic() < healed_at:
        _lift_limit(*descendants(pid))
        await asyncio.sleep(0.02)  # a lane takes some tenths of a second before it writes anything
    _lift_limit(pid)
    _lift_limit(*descendants(pid))
    scene.harness.keeper.mend()


def _lift_limit(*pids: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
