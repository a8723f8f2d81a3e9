"""The stack that faults are done to: Redis, tokens behind the simulated HSM, several workers, all observed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.hsm.simhsm import write_rules
from queueing import SigningClient
from queueing.protocol.client_keys import ClientPublicKey
from tests.faults.harness import observers
from tests.faults.harness.exports import export_events
from tests.faults.harness.observed_rig import ObservedRig, Setup, observed_rig
from tests.faults.harness.queue_state import answer_of, left_in, results_of
from tests.faults.harness.redis_places import RedisPlace, open_redis
from tests.faults.harness.tokens import TENANTS, Keeper
from tests.faults.history import Answered, Event, Left, Recorder, TenantKey, WorkerEnded, read_history
from tests.support.clocks.stepped_clock import SteppedClock
from tests.support.rig.processes import command_of, descendants
from tests.support.rig.rig import WorkerProcess
from workers.dev.tenants import CLIENT
from workers.state.latest_time import NAME as LATEST_TIME

ROOT = Path(__file__).parents[3]

PATIENCE_S = 60.0
SESSION_THREADS = 2
CLIENTS_PER_TENANT = 2


@dataclass(slots=True, kw_only=True)
class Harness:
    """Workers by number, from 1. ``recorder`` takes what the run itself sees."""

    rig: ObservedRig
    place: RedisPlace
    recorder: Recorder
    keeper: Keeper
    workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _results: dict[str, Answered] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, setup: Setup | None = None) -> Iterator[Self]:
        """The stack in ``folder``, without workers yet; everything ends with the block."""
        setup = setup or Setup()
        folder = folder.resolve()
        folder.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            place = stack.enter_context(open_redis(setup.deployment, folder, spread=list(TENANTS)))
            rig = observed_rig(folder, setup, place)
            stack.callback(rig.close_logs)
            stack.enter_context(rig)
            recorder = Recorder(folder / "run.jsonl")
            stack.callback(recorder.close)
            harness = cls(rig=rig, place=place, recorder=recorder, keeper=Keeper(folder / "tokens"))
            recorder.note(*harness._keys())
            yield harness

    def _keys(self) -> list[TenantKey]:
        return [
            TenantKey(
                at=time.time(),
                tenant=name,
                token=name,
                spki=self.rig.tokens[name].keys[f"{name}.release.v1"].spki,
            )
            for name in TENANTS
        ]

    @property
    def lane_clock(self) -> SteppedClock:
        """Clock of all lanes of all workers."""
        return self.rig.lane_clock

    def clients(self) -> dict[str, list[SigningClient]]:
        """Some clients of each tenant, to be opened."""
        return {tenant: [self.rig.client(tenant) for _ in range(CLIENTS_PER_TENANT)] for tenant in TENANTS}

    async def start_worker(self, number: int) -> None:
        """Start it, with the state that its predecessor of this number left, and wait until it is ready."""
        self.keeper.mend()
        worker = self.workers[number] = self.rig.start_worker(number, ready=False)
        await eventually(lambda: worker.ready or not worker.alive, f"worker {number} is ready")
        assert worker.alive, worker.child.log_tail(30)

    def _take(self, number: int) -> WorkerProcess:
        """To be ended now; one that has ended by itself is a violation, whatever was done to it."""
        worker = self.workers.pop(number)
        if not worker.alive:
            self.recorder.note(Left(at=time.time(), what=f"worker {number} ended by itself"))
        return worker

    async def kill_worker(self, number: int) -> None:
        """SIGKILL; its lanes do not outlive it."""
        worker = self._take(number)
        await asyncio.to_thread(worker.child.kill)
        self.recorder.note(WorkerEnded(at=time.time(), worker=f"worker-{number}", orderly=False))
        self.keeper.mend()

    async def stop_worker(self, number: int, *, again_after_s: float | None = None) -> float:
        """SIGTERM, once or twice, and wait; in seconds."""
        worker = self._take(number)
        lanes = descendants(worker.pid)
        began = time.monotonic()
        if again_after_s is not None:
            worker.child.terminate()
            await asyncio.sleep(again_after_s)
        code = await asyncio.to_thread(worker.child.stop, PATIENCE_S)
        self.recorder.note(WorkerEnded(at=time.time(), worker=f"worker-{number}", orderly=code == 0))
        left = [pid for pid in lanes if "workers.lanes" in command_of(pid)]
        self.recorder.note(*(Left(at=time.time(), what=f"lane of worker {number}") for _ in left))
        return time.monotonic() - began

    async def reload_workers(self, *numbers: int) -> None:
        """SIGHUP to these workers, or to all, and wait until each has adopted what changed."""
        for number in numbers or sorted(self.workers):
            worker = self.workers[number]
            before = await asyncio.to_thread(_reloads, worker)
            os.kill(worker.pid, signal.SIGHUP)
            await eventually(
                lambda worker=worker, before=before: _reloads(worker) > before,  # type: ignore[misc]
                f"worker {number} has adopted its files",
            )

    async def configure_worker(self, number: int) -> None:
        """Write the worker's file anew, by the rig's settings as they are, and have it adopted."""
        self.rig.config(number, self.workers[number].port)
        await self.reload_workers(number)

    def committed_since(self, number: int, since: float) -> bool:
        """Whether the worker has committed a job that it claimed after that time."""
        return observers.committed_since(self.rig.history_file(number), since)

    async def knows_its_clock(self, number: int) -> None:
        """Wait until a lane of the worker has remembered the time: one that is first started by a wrong clock knows no other."""
        await eventually(
            (self.rig.state_dir(number) / LATEST_TIME).exists, f"a lane of worker {number} has signed"
        )

    def rules(self, token: str, *rules: str) -> None:
        """The token's module has these faults from now on; none without any."""
        write_rules(self.rig.directory / f"{token}.faults", rules)

    def token_folder(self, token: str) -> Path:
        """SoftHSM's directory of the token."""
        return self.rig.directory.parent / "tokens" / token / "tokens"

    def lane(self, number: int, token: str) -> int | None:
        """The process of a lane that has logged in."""
        worker = self.workers.get(number)
        lanes = worker.lanes().get(token, []) if worker else []
        return lanes[0] if lanes and worker and _sessions_open(lanes[0]) else None

    async def read_results(self, jobs: dict[str, str], *, all_there: bool = False) -> None:
        """Read every job's result (job -> tenant) as it stands in Redis; what is new or changed is noted, and, when
        all should be there, what is missing."""
        names = list(jobs)
        redis = self.rig.connect()
        try:
            raw = await results_of(redis, names)
        finally:
            await redis.aclose()
        for job, result in zip(names, raw, strict=True):
            if result is None:
                if all_there:
                    self.recorder.note(Left(at=time.time(), what=f"{job} without its result"))
                continue
            answer = answer_of(job, jobs[job], result)
            before = self._results.get(job)
            if before is None or (before.signatures, before.code) != (answer.signatures, answer.code):
                self._results[job] = answer
                self.recorder.note(answer)

    async def left_in_redis(self, *, within_s: float) -> list[str]:
        """Leftovers after that time, although no accepted job is unfinished."""
        deadline = time.monotonic() + within_s
        redis = self.rig.connect()
        try:
            while left := await left_in(redis):
                if time.monotonic() > deadline:
                    return left
                await asyncio.sleep(0.1)
        finally:
            await redis.aclose()
        return []

    def forget(self) -> None:
        """Forget the history judged so far."""
        self.recorder.events.clear()
        self.recorder.note(*self._keys())
        self._results.clear()

    def events(self) -> list[Event]:
        """The whole history so far, of all observers; what the run itself saw only since it last forgot."""
        found = list(self.recorder.events)
        for number in sorted(
            int(file.stem.split("-")[1]) for file in self.rig.directory.glob("worker-*.jsonl")
        ):
            name = f"worker-{number}"
            found += read_history(self.rig.history_file(number))
            found += observers.worker_events(name, self.rig.directory / f"{name}.log")
            found += observers.log_events(name, self.rig.state_dir(number) / "wal")
        for token in TENANTS:
            found += observers.hsm_events(token, self.rig.directory / f"{token}.simhsm.log")
        return found

    def exported(self) -> list[Event]:
        """Exports of all tenants of all workers, which have ended."""
        clients = {
            name: {CLIENT: ClientPublicKey.from_spki(key.public_spki)} for name, key in self.rig.keys.items()
        }
        state_dirs = sorted(self.rig.directory.glob("state-*"))
        return [
            event
            for state_dir in state_dirs
            for event in export_events(f"worker-{state_dir.name.removeprefix('state-')}", state_dir, clients)
        ]


def _sessions_open(pid: int) -> bool:
    """Whether its session threads run, so it has logged in: a kill in its login would destroy the token."""
    return len(list(Path(f"/proc/{pid}/task").glob("*"))) > SESSION_THREADS


def _reloads(worker: WorkerProcess) -> float:
    return worker.metric("sigmill_config_reloads_total", outcome="adopted")


async def eventually(question: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Wait until the answer, which may take a while and is asked on a thread, is yes."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(question):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)
