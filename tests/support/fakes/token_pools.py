"""Token pool on a fake host: the pool is real, its lanes are played by the test, and the clock is moved by hand."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from tests.support.fakes.fake_lane import FakeClock, FakeHost, FakeJob, FakeLane
from tests.support.waiting import turn
from workers.lanes.protocol import Outcomes
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.circuit_breaker import Circuit
from workers.lanes.supervisor.connection import ChunkSent, LaneConnection
from workers.lanes.supervisor.lost_lane import ExitReason
from workers.lanes.supervisor.process_group import LaneRecorder
from workers.lanes.supervisor.spawn import LaneSpec
from workers.lanes.supervisor.token_pool import TokenPool
from workers.state.refused_pins import RefusedPins

GROUP: Final = Group("release", 1, "ECDSA_SHA_256")
SEGV: Final = -11
CALL_TIMEOUT_S: Final = 10.0


@dataclass
class RecordingObserver:
    """Keeps the events of lanes that are counted as metrics."""

    started: int = 0
    ended: list[str | None] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    circuits: list[Circuit] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)

    def lane_started(self, token: str, sessions: int) -> None:
        self.started += 1

    def lane_ended(self, token: str, sessions: int, reason: str | None) -> None:
        self.ended.append(reason)

    def lane_failed(self, token: str, reason: str) -> None:
        self.failed.append(reason)

    def chunk_done(self, token: str, chunk: ChunkSent, answer: Outcomes, seconds: float) -> None: ...

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        self.circuits.append(circuit)

    def keys_missing(self, token: str, count: int) -> None:
        self.missing.append(count)


class NoRecorder:
    """Keeps nothing of lanes."""

    def lane_started(self, spec: LaneSpec, lane: LaneConnection) -> None: ...

    def lane_ended(self, spec: LaneSpec, lane: LaneConnection, end: ExitReason, *, in_doubt: int) -> None: ...


@dataclass
class RecordingCapacity:
    """Keeps the capacity and the load of the pool at each report that capacity was freed."""

    pool: TokenPool | None = None
    freed: list[tuple[int, int]] = field(default_factory=list)

    def capacity_freed(self) -> None:
        if self.pool is not None:
            self.freed.append((self.pool.capacity(), self.pool.status.load))


class NoStopOrders:
    """Source without stop orders."""

    def signed_orders(self, tenant: str) -> tuple[bytes, ...]:
        return ()


@dataclass
class PoolSetup:
    """Token pool with its fake host, clock and PIN file, and all that it reports."""

    pool: TokenPool
    host: FakeHost
    observer: RecordingObserver
    capacity: RecordingCapacity
    clock: FakeClock
    pins: RefusedPins
    pin_file: Path

    @property
    def lanes(self) -> list[FakeLane]:
        """Every lane that was started, in order."""
        return self.host.lanes

    # Methods, since mypy takes a property for unchanged after it was asserted.

    def healthy(self) -> bool:
        return self.pool.healthy

    def in_doubt(self) -> bool:
        return self.pool.status.in_doubt

    def idle(self) -> bool:
        return self.pool.status.idle

    async def submit(self, *jobs: FakeJob, count: int = 1) -> None:
        """Submit one slice of each job."""
        for job in jobs:
            self.pool.submit(Slice(job, GROUP, 0, count))
        self.pool.pump()
        await turn()

    async def start(self, *jobs: FakeJob, count: int = 1) -> None:
        """Submit, and make the lane ready that is started for it."""
        await self.submit(*jobs, count=count)
        self.lanes[-1].ready()
        await turn()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock and tick."""
        self.clock.now += seconds
        self.pool.tick()
        await turn()


class MakePool(Protocol):
    """Fixture ``make_pool``: a context that makes a pool and closes it at the end."""

    def __call__(
        self,
        *,
        most_lanes: int = 1,
        chunk_target_s: float = 0.02,
        idle_s: float = 300.0,
        poison_crashes: int = 3,
        recorder: LaneRecorder | None = None,
    ) -> AbstractAsyncContextManager[PoolSetup]: ...
