"""Lane processes of one token: started one at a time, reloaded, stopped, and killed when they are silent.

Answers go from a ``LaneConnection`` to the ``ProcessListener``, starts and ends from ``LaneProcesses``; commands the other way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.backoff import Backoff, Randomness
from workers.lanes.supervisor.connection import AnswerListener, LaneConnection
from workers.lanes.supervisor.lost_lane import INVALID_ANSWER, ExitReason, classify_exit
from workers.lanes.supervisor.spawn import LaneSpec, cpu_for_lane, ready_timeout_s, spawn_or_connect
from workers.lanes.supervisor.token_identities import TokenIdentities

if TYPE_CHECKING:
    from asyncio import TaskGroup
    from collections.abc import Callable

    from workers.lanes.protocol import Ready
    from workers.lanes.supervisor.circuit_breaker import CircuitBreaker
    from workers.lanes.supervisor.lane_metrics import LaneObserver
    from workers.state.refused_pins import RefusedPins

log = logging.getLogger("sigmill.lanes")

SILENCE_GRACE_S: Final = 5.0
"""A lane ends itself when a call hangs; this long after that the worker kills it."""

RELOAD_TIMEOUT_S: Final = 0.5
"""A lane that does not answer a reload within this time, checked every half second, is killed: what is revoked is no
longer signed within one second."""

SHORTEST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
"""Between attempts to start one more lane while others sign; doubled each time, and shortened by up to half at random. An
attempt is a process and a login."""


class StopOrderSource(Protocol):
    """Source of the stop orders in force."""

    def signed_orders(self, tenant: str) -> tuple[bytes, ...]:
        """Signed stop orders in force for the tenant."""


class CapacityListener(Protocol):
    """Receiver of the news that lanes can take more digests."""

    def capacity_freed(self) -> None:
        """The capacity of some tenant may have grown."""


class LaneRecorder(Protocol):
    """Receiver of what the log keeps of lanes: logins, starts and ends. Must not block."""

    def lane_started(self, spec: LaneSpec, lane: LaneConnection) -> None:
        """A lane has logged in; it may sign from now on."""

    def lane_ended(self, spec: LaneSpec, lane: LaneConnection, end: ExitReason, *, in_doubt: int) -> None:
        """A lane has exited with so many digests that it had not answered, be it logged in or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneServices:
    """Objects and clock that the lanes of all tokens of a worker share. Lanes run in ``tasks``."""

    tasks: TaskGroup
    refused_pins: RefusedPins
    observer: LaneObserver
    recorder: LaneRecorder
    capacity_listener: CapacityListener
    stop_orders: StopOrderSource
    identities: TokenIdentities = field(default_factory=TokenIdentities)
    now_s: Callable[[], float] = time.monotonic
    randomness: Randomness = random


class ProcessListener(AnswerListener, Protocol):
    """Receiver of the events of a token's lanes, and of their answers."""

    def lane_unreachable(self) -> None:
        """A lane could not be started, or a host-started lane not be reached."""

    def lane_ready(self, lane: LaneConnection) -> None:
        """A lane has logged in."""

    def lane_ended(self, lane: LaneConnection, end: ExitReason) -> None:
        """A lane has exited."""


class LaneProcesses:
    """Lane processes of one token, from start to exit."""

    def __init__(
        self,
        spec: LaneSpec,
        services: LaneServices,
        *,
        most: int,
        listener: ProcessListener,
        breaker: CircuitBreaker,
    ) -> None:
        self.spec = spec
        self.most = most
        self.closing = False
        self._stop_orders = services.stop_orders
        self._identities = services.identities
        self._recorder = services.recorder
        self._tasks = services.tasks
        self._listener = listener
        self._breaker = breaker
        self._now_s = services.now_s
        self._pauses = Backoff(
            first_s=SHORTEST_PAUSE_S, most_s=LONGEST_PAUSE_S, randomness=services.randomness
        )
        self._start_postponed_until = 0.0
        self._lanes: list[LaneConnection] = []  # connected, also while they log in or stop
        self._running: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._reloads = 0

    @property
    def has_ready_lane(self) -> bool:
        """Whether a lane is logged in and was not told to stop."""
        return any(lane.takes_work for lane in self._lanes)

    @property
    def empty(self) -> bool:
        """Whether no lane runs or starts."""
        return not self._running

    @property
    def count(self) -> int:
        """Number of lanes, counting one that has not connected."""
        return max(len(self._lanes), 1) if self._starting else len(self._lanes)

    def ready_lanes(self) -> list[LaneConnection]:
        """Lanes that take work, in the order of their start."""
        return [lane for lane in self._lanes if lane.takes_work]

    def busy_lanes(self) -> list[LaneConnection]:
        """Lanes that have chunks, also those that were told to stop; may be called by another thread."""
        return [lane for lane in tuple(self._lanes) if lane.outstanding]

    def sessions_of_lanes(self) -> list[int]:
        """Number of sessions of each lane that is logged in."""
        return [lane.ready.sessions for lane in self._lanes if lane.ready is not None]

    @property
    def start_postponed(self) -> bool:
        """Whether no further lane is started for now: one is logged in, and the last start of another failed."""
        return self.has_ready_lane and self._now_s() < self._start_postponed_until

    def postpone_start(self, *, at_least_s: float = 0.0) -> None:
        """Start no further lane for a pause (of ``at_least_s``), which grows until a lane logs in."""
        self._start_postponed_until = self._now_s() + max(self._pauses.next_s(), at_least_s)

    def start_one_more(self) -> None:
        """Start a lane, if there may be another; one at a time."""
        if self._starting or len(self._lanes) >= self.most or self.closing or self.start_postponed:
            return
        self._starting += 1
        self._breaker.lane_starting(self.spec.settings)
        task = self._tasks.create_task(self._run(), name=f"lane-{self.spec.token}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        """One lane from its start to its exit."""
        spec, reloads = self.spec, self._reloads
        try:
            cpu = cpu_for_lane(self.most, os.sched_getaffinity(0), (other.cpu for other in self._lanes))
            stream = await spawn_or_connect(replace(spec, cpu=cpu))
        except OSError as error:
            self._starting -= 1
            log.warning("lane.unreachable", extra={"token": spec.token, "why": str(error)})
            self._listener.lane_unreachable()
            return
        lane = LaneConnection(stream, self._listener, self)
        lane.cpu = cpu
        self._lanes.append(lane)
        orders = self._signed_orders()
        if orders or reloads != self._reloads:
            lane.reload(orders, RELOAD_TIMEOUT_S, files=reloads != self._reloads)
        if self.closing or spec is not self.spec:
            lane.stop()
        try:
            await self._serve(lane, spec)
        except BaseException:
            lane.kill()
            raise
        finally:
            self._lanes.remove(lane)
        code = await stream.ended()
        if lane.invalid:
            log.error("lane.invalid_answer", extra={"token": spec.token, "why": lane.invalid})
        end = classify_exit(
            code=code,
            failure=lane.failure,
            asked=lane.stopping or self.closing,
            killed_as=INVALID_ANSWER if lane.invalid else "silent" if lane.silent else "",
            ready=lane.ready is not None,
        )
        self._recorder.lane_ended(spec, lane, end, in_doubt=lane.digests_outstanding)
        self._listener.lane_ended(lane, end)

    async def _serve(self, lane: LaneConnection, spec: LaneSpec) -> None:
        reading = asyncio.ensure_future(lane.read_until_end())
        became_ready = asyncio.ensure_future(lane.became_ready.wait())
        try:
            await asyncio.wait(
                {reading, became_ready},
                timeout=ready_timeout_s(self.spec),
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._starting -= 1
            if (ready := lane.ready) is not None:
                self._pauses.reset()
                told = {"token": self.spec.token, "sessions": ready.sessions, "loop": ready.loop}
                log.info("lane.ready", extra=told)
                self._recorder.lane_started(spec, lane)
                self._listener.lane_ready(lane)
                await reading
        finally:
            became_ready.cancel()
            reading.cancel()

    def objection_to(self, ready: Ready) -> str:
        """Reason for which the lane may not be used with its token; empty where it may."""
        return self._identities.objection_to(ready, self.spec)

    def reload(self, within_s: float, *, files: bool) -> None:
        """Have every lane apply the stop orders in force, and read its files again if ``files``.

        A lane that does not answer within ``within_s`` is killed.
        """
        if files:
            self._reloads += 1
        for lane in self._lanes:
            if not lane.stopping:
                lane.reload(self._signed_orders(), within_s, files=files)

    def _signed_orders(self) -> tuple[bytes, ...]:
        """The service's own token has no tenant, and no stop order is for it."""
        return () if self.spec.tenant is None else self._stop_orders.signed_orders(self.spec.tenant)

    def reload_problems(self) -> list[str] | None:
        """Problems that lanes found in their files; None while one has not answered."""
        if any(lane.reload_pending for lane in self._lanes):
            return None
        return [lane.reload_problem for lane in self._lanes if lane.reload_problem]

    def change(self, spec: LaneSpec, most: int) -> None:
        """Start lanes by this ``spec`` from now on; those that run exit when they have answered what they have."""
        self.spec, self.most = spec, most
        self._pauses.reset()
        self._start_postponed_until = 0.0
        self.stop()

    def stop(self) -> None:
        """Tell every lane to exit when it has answered what it has."""
        for lane in self._lanes:
            if not lane.stopping:
                lane.stop()

    def end_overdue(self, now: float, idle_s: float) -> None:
        """Kill lanes with an overdue reload and silent ones; stop those that were idle for ``idle_s``."""
        token, silence_s = self.spec.token, self.spec.settings.call_timeout_s + SILENCE_GRACE_S
        for lane in self._lanes:
            if lane.reload_overdue(now):
                log.error("lane.reload_overdue", extra={"token": token})
                lane.stopping = True  # neither job nor token is to blame
                lane.kill()
            elif lane.silent_s(now) > silence_s:
                log.error("lane.silent", extra={"token": token})
                lane.silent = True
                lane.kill()
            elif lane.takes_work and lane.idle_s(now) > idle_s:
                lane.stop()

    async def close(self, within_s: float) -> None:
        """Stop all lanes, then kill those that are left after the call timeout, or ``within_s`` if that is shorter."""
        self.closing = True
        self.stop()
        if self._running:
            await asyncio.wait(set(self._running), timeout=min(self.spec.settings.call_timeout_s, within_s))
        self.kill()

    def kill(self) -> None:
        """Kill all lanes."""
        self.closing = True
        for lane in self._lanes:
            lane.kill()
