"""The stack that faults are done to: Redis, tokens behind the simulated HSM, several workers, all observed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from arq.connections import ArqRedis

from bench.hsm.simhsm import write_rules
from queueing import SigningClient
from queueing.protocol import keyspace
from queueing.protocol.jobs import decode_result
from tests.faults.harness import observers
from tests.faults.harness.tokens import TENANTS, CopiedTokens, Keeper
from tests.faults.history import Answered, Event, Left, Recorder, TenantKey, WorkerEnded, read_history
from tests.support.hsm.manners import Manners
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import Rig, WorkerProcess, command_of, descendants
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.rig.stepped_worker import lane_clock_environment
from tests.support.stepped_clock import SteppedClock
from workers.config.settings import TokenSettings

ROOT = Path(__file__).parents[3]

PATIENCE_S = 60.0
SNAPSHOTS_FAIL = {"dbfilename": "blocked.rdb"}
"""A setting of the server: a rename onto a directory of that name fails."""
LEASE_S = 2.0
CALL_TIMEOUT_S = 2.0
SIGN_US = 1_000
SESSION_THREADS = 2
CLIENTS_PER_TENANT = 2


def _with_manners(
    names: tuple[str, ...], wrap: Callable[[TokenSettings], TokenSettings]
) -> Callable[[TokenSettings], TokenSettings]:
    """A ``Rig.wrap`` with these manners in front of another; without any, that one."""
    if not names:
        return wrap

    def both(settings: TokenSettings) -> TokenSettings:
        device = wrap(settings)
        return Manners(names=names, real_module=Path(device.module)).in_front_of(device)

    return both


@dataclass(slots=True, kw_only=True)
class ObservedRig(Rig):
    """A rig whose workers write down what Redis answers them; ``broken`` names a script of ``broken.py``."""

    broken: str = ""
    lane_clock: SteppedClock

    def program(self, number: int) -> list[str]:
        words = [
            "-m",
            "tests.faults.harness.worker_entry",
            f"worker-{number}",
            str(self.history_file(number)),
        ]
        return [*words, *([self.broken] if self.broken else [])]

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT), **lane_clock_environment(self.lane_clock)}

    def history_file(self, number: int) -> Path:
        return self.directory / f"worker-{number}.jsonl"


@dataclass(slots=True, kw_only=True)
class Harness:
    """Workers by number, from 1. ``recorder`` takes what the run itself sees."""

    rig: ObservedRig
    recorder: Recorder
    keeper: Keeper
    workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _results: dict[str, Answered] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        folder: Path,
        *,
        broken: str = "",
        lease_s: float = LEASE_S,
        sign_us: int = SIGN_US,
        retention_s: float = 3600.0,
        manners: tuple[str, ...] = (),
    ) -> Iterator[Self]:
        """The stack in ``folder``, without workers yet; everything ends with the block. ``manners``: of the tenants' modules."""
        folder = folder.resolve()
        folder.mkdir(parents=True)
        one_lane = dict.fromkeys([*TENANTS, "service"], f"lanes = 1\ncall_timeout_s = {CALL_TIMEOUT_S}")
        with RedisProcess(
            folder / "redis", password="faults-redis-password", appendonly=True, settings=SNAPSHOTS_FAIL
        ) as redis:
            rig = ObservedRig(
                directory=folder / "rig",
                redis=redis,
                shelf=CopiedTokens(folder / "tokens"),
                tenants=TENANTS,
                token=one_lane,
                worker={"lease_s": lease_s, "drain_s": 5.0, "result_retention_s": retention_s},
                wrap=_with_manners(manners, behind_simhsm(folder / "rig", sign_us=sign_us)),
                broken=broken,
                lane_clock=SteppedClock(folder / "lane-clock"),
            )
            with rig:
                recorder = Recorder(folder / "run.jsonl")
                harness = cls(rig=rig, recorder=recorder, keeper=Keeper(folder / "tokens"))
                recorder.note(*harness._keys())
                try:
                    yield harness
                finally:
                    recorder.close()

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
    def redis(self) -> RedisProcess:
        return self.rig.redis

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
            raw = await redis.mget([keyspace.result(job) for job in names]) if names else []
        finally:
            await redis.aclose()
        for job, result in zip(names, raw, strict=True):
            if result is None:
                if all_there:
                    self.recorder.note(Left(at=time.time(), what=f"{job} without its result"))
                continue
            answer = _answer(job, jobs[job], result)
            before = self._results.get(job)
            if before is None or (before.signatures, before.code) != (answer.signatures, answer.code):
                self._results[job] = answer
                self.recorder.note(answer)

    async def left_in_redis(self, *, within_s: float) -> list[str]:
        """Leftovers after that time, although no accepted job is unfinished."""
        deadline = time.monotonic() + within_s
        while left := await self._left_in_redis():
            if time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.1)
        return []

    async def _left_in_redis(self) -> list[str]:
        found = []
        redis = self.rig.connect()
        try:
            for tenant in TENANTS:
                if await redis.zcard(keyspace.queue(tenant)):
                    found.append(f"{tenant}: jobs in the queue")
                if await redis.exists(keyspace.claims(tenant)):  # Redis has no empty hash
                    found.append(f"{tenant}: claims")
                if await _backlog(redis, tenant):
                    found.append(f"{tenant}: digests in the backlog")
            if await redis.keys("arq:in-progress:*"):
                found.append("leases")
        finally:
            await redis.aclose()
        return found

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


def _answer(job: str, tenant: str, raw: bytes) -> Answered:
    result = decode_result(raw).outcome
    code = getattr(result, "reason", "")
    if code:
        return Answered(at=time.time(), client="redis", tenant=tenant, job=job, how="fail", code=code)
    return Answered(
        at=time.time(),
        client="redis",
        tenant=tenant,
        job=job,
        how="ok",
        signatures=tuple(s or b"" for s in result.signatures),  # type: ignore[union-attr]  # no error, so an outcome
        codes={i: note.code for i, note in result.errors.items()},  # type: ignore[union-attr]
    )


def _sessions_open(pid: int) -> bool:
    """Whether its session threads run, so it has logged in: a kill in its login would destroy the token."""
    return len(list(Path(f"/proc/{pid}/task").glob("*"))) > SESSION_THREADS


async def _backlog(redis: ArqRedis, tenant: str) -> int:
    digests = await cast("Awaitable[bytes | None]", redis.hget(keyspace.backlog(tenant), "digests"))
    return int(digests or 0)


async def eventually(question: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Wait until the answer, which may take a while and is asked on a thread, is yes."""
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(question):
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.05)
