"""The lanes of one token on this host: started when needed, fed, replaced when they end, left alone when the
token is in doubt.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.errors import TokenUnavailable
from workers.lanes.supervisor.chunk_scheduler import ChunkScheduler
from workers.lanes.supervisor.circuit_breaker import Circuit, CircuitBreaker
from workers.lanes.supervisor.exit_reason import Cause, ExitReason
from workers.lanes.supervisor.pending_requests import CanaryRequests, DirectoryRequests
from workers.lanes.supervisor.process_group import (
    READY_TIMEOUT_S,
    RELOAD_TIMEOUT_S,
    SILENCE_GRACE_S,
    LaneProcesses,
)

if TYPE_CHECKING:
    from asyncio import TaskGroup
    from collections.abc import Callable

    from workers.lanes.protocol import Outcomes, SignCanary, SignDirectory, SignedCanary, SignedDirectory
    from workers.lanes.supervisor.batching import Slice
    from workers.lanes.supervisor.connection import ChunkSent, LaneConnection
    from workers.lanes.supervisor.hsm_sharing import SharedHsm
    from workers.lanes.supervisor.lane_metrics import LaneObserver
    from workers.lanes.supervisor.spawn import LaneSpec
    from workers.state.refused_pins import RefusedPins

log = logging.getLogger("sigmill.lanes")

CANARY_GRACE_S: Final = 2.0
"""A lane that hangs over its canary is ended first, which says more than that it took too long."""

AVOID_S: Final = 5.0
"""A token that does not have a key now is passed over for so long, where another token has it."""


class TokenPool:
    """All lanes of one (tenant, token). Single-threaded: everything happens on the worker's loop.

    ``room`` is called whenever ``capacity`` may have grown; ``orders`` are the signed stop orders in force.
    """

    def __init__(
        self,
        spec: LaneSpec,
        *,
        most_lanes: int,
        chunk_target_s: float,
        idle_s: float,
        poison_crashes: int,
        refused_pins: RefusedPins,
        tasks: TaskGroup,
        observer: LaneObserver,
        room: Callable[[], None],
        orders: Callable[[], tuple[bytes, ...]] = lambda: (),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = spec.token
        self.tenant = spec.tenant
        self.given = 0  # digests, ever: of two that are equally loaded the one that was given less is next
        self._idle_s = idle_s
        self._observer = observer
        self._room = room
        self._now_s = now_s
        self._group = LaneProcesses(
            spec, most=most_lanes, orders=orders, tasks=tasks, owner=self, now_s=now_s
        )
        self._dispatch = ChunkScheduler(chunk_target_s=chunk_target_s, poison_crashes=poison_crashes)
        self._directories = DirectoryRequests()
        self._canaries = CanaryRequests()
        self._given_at = now_s()
        self._avoided: dict[tuple[str, int], float] = {}
        self._drained = False
        self._circuit = CircuitBreaker(
            spec.token, refused_pins=refused_pins, changed=self._circuit_changed, now_s=now_s
        )

    def share_hsm(self, budget: SharedHsm | None, weight: Callable[[], float]) -> None:
        """The token is on a device that others use too, or (None) on one of its own. What waits asks for its part anew."""
        sessions = self._group.spec.sessions
        self._dispatch.share_hsm(budget, self._group.links, sessions=sessions, weight=weight, wake=self.pump)
        self.pump()

    @property
    def healthy(self) -> bool:
        """Whether it makes sense to give it work: true also when no lane runs, for one would be started."""
        return self._circuit.closed and not self._group.closing and not self._drained

    @property
    def drained(self) -> bool:
        """Whether an operator had it take no more work."""
        return self._drained

    @property
    def in_doubt(self) -> bool:
        """Whether it failed when it was last used; unlike ``healthy`` also while it is tried again."""
        return self._circuit.in_doubt

    def lacks(self, key: str, version: int) -> bool:
        """Whether the token did not have this key a moment ago."""
        return self._avoided.get((key, version), 0.0) > self._now_s()

    @property
    def can_sign(self) -> bool:
        """Whether a lane is logged in."""
        return self._group.some_ready

    @property
    def circuit(self) -> Circuit:
        """Whether the token is used."""
        return self._circuit.state

    def sessions_of_lanes(self) -> list[int]:
        """The sessions of each lane that is logged in."""
        return [link.ready.sessions for link in self._group.links if link.ready is not None]

    @property
    def load(self) -> int:
        """Digests that wait or are under way."""
        return self._dispatch.waiting + sum(link.digests_outstanding for link in self._group.links)

    def sessions_busy(self) -> int:
        """Sessions that have something to sign; a reading from another thread may be a moment old."""
        return sum(min(link.sessions, link.digests_outstanding) for link in tuple(self._group.links))

    def capacity(self) -> int:
        """How many more digests it could start soon: every lane full, and as much again to come.

        None while every lane has its next chunk and half of that is left: a claim costs the same for many.
        """
        if not self.healthy:
            return 0
        group = self._group
        one_more = 1 if self._dispatch.waiting and not group.holds_back else 0
        possible = min(max(group.count + one_more, 1), group.most)
        full = self._dispatch.full(possible, group.spec.sessions)
        room = 2 * full - self.load
        return room if room >= full // 2 else 0

    def submit(self, piece: Slice) -> None:
        """Sign this when a lane is free; the job is told. To be followed by ``pump``."""
        self.given += piece.count
        self._given_at = self._now_s()
        self._dispatch.add(piece)

    def pump(self) -> None:
        """Give free lanes what is next; start a lane where one is missing."""
        if not self._circuit.closed or self._group.closing:  # no lane will be started for it
            self.return_waiting()
            return
        if self._drained:
            self.return_waiting(keep_begun=True)
        self._dispatch.feed_all(sorted(self._group.links, key=lambda lane: lane.digests_outstanding))
        if self._directories.waiting:
            self._ask_for_directories()
        if self._dispatch.waiting:
            self._group.start_one_more()

    def _ask_for_directories(self) -> None:
        ready = [link for link in self._group.links if link.ready is not None and not link.stopping]
        if ready:
            self._directories.send(ready[0])
        elif not self._group.links:
            self._group.start_one_more()

    async def sign_directory(self, request: SignDirectory) -> SignedDirectory:
        """A signed directory, by the service's lane; ``TokenUnavailable`` (retryable) when there is no lane."""
        if not self.healthy:
            raise TokenUnavailable("the service's token cannot be used now")
        answer = self._directories.add(request)
        self.pump()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise TokenUnavailable("the service's lane did not answer") from None
        finally:
            self._directories.forget(request)

    @property
    def takes_canaries(self) -> bool:
        """Whether a lane that knows canaries is logged in."""
        return bool(self._canary_links())

    def _canary_links(self) -> list[LaneConnection]:
        return [
            link
            for link in self._group.links
            if link.ready is not None and link.ready.canaries and not link.stopping
        ]

    async def sign_canary(self, request: SignCanary) -> SignedCanary:
        """The constant signed by a lane that runs, each in turn; ``TokenUnavailable`` (retryable) when none does."""
        links = self._canary_links()
        if not links:
            raise TokenUnavailable("no lane is logged in")
        timeout_s = self._group.spec.settings.call_timeout_s + SILENCE_GRACE_S + CANARY_GRACE_S
        return await self._canaries.ask(links[request.id % len(links)], request, timeout_s)

    def lane_answered(self, link: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """A chunk is done: hand out its outcomes, feed the lane."""
        self._observer.chunk_done(self.token, chunk, answer, busy_s)
        self._circuit.answered()
        if any(
            note.code == TokenUnavailable.reason for item in answer.items for note in item.errors.values()
        ):
            self._avoided[chunk.group.key, chunk.group.version] = self._now_s() + AVOID_S
        self._dispatch.answered(link, chunk, answer, busy_s)
        self._room()

    def directory_signed(self, answer: SignedDirectory) -> None:
        """The service's lane answered; whoever waits is told."""
        self._dispatch.signed()
        self._directories.signed(answer)

    def canary_signed(self, answer: SignedCanary) -> None:
        """A lane answered its canary; whoever waits is told."""
        if answer.error is None:
            self._circuit.answered()
        self._canaries.answered(answer)

    def lane_unreachable(self) -> None:
        """The host has no such lane, or no process for one."""
        self._observer.lane_failed(self.token, "unreachable")
        self._could_not_start()

    def _could_not_start(self) -> None:
        """The token is in doubt, unless a lane is logged in to it: then there is no room for another one."""
        if self._group.some_ready:
            self._group.hold_back()
        else:
            self._trip(Circuit.OPEN)

    def lane_ready(self, link: LaneConnection) -> None:
        """A lane has logged in."""
        self._observer.lane_started(self.token, link.sessions)
        self.pump()
        self._room()

    def lane_ended(self, link: LaneConnection, end: ExitReason) -> None:
        """A lane is gone: decide about the token, then about what the lane had."""
        asked = end.cause is Cause.ASKED
        if link.ready is not None:
            self._observer.lane_ended(self.token, link.ready.sessions, None if asked else end.reason)
        elif not asked:
            self._observer.lane_failed(self.token, end.reason)
        if not asked:
            log.warning(
                "lane.ended",
                extra={
                    "token": self.token,
                    "reason": end.reason,
                    "cause": end.cause.value,
                    "exit_code": end.code,
                },
            )
        self._dispatch.take_back(link, end)
        self._directories.lane_ended(link)
        self._canaries.lane_ended(link)
        if self._group.closing:
            self.return_waiting()
        if end.cause is Cause.PIN:
            self._trip(Circuit.REFUSED)
        elif self._dispatch.token_in_doubt or (end.cause is Cause.TOKEN and link.ready is not None):
            self._trip(Circuit.OPEN)
        elif end.cause is Cause.TOKEN:
            self._could_not_start()
        self.pump()
        self._room()

    def _trip(self, circuit: Circuit) -> None:
        log.error("circuit.opened", extra={"token": self.token, "circuit": circuit.value})
        self._circuit.trip(circuit)
        self._directories.give_up()
        self._dispatch.left_alone()

    def _circuit_changed(self, circuit: Circuit) -> None:
        self._observer.circuit_changed(self.token, circuit)

    def return_waiting(self, *, keep_begun: bool = False) -> None:
        """What no lane has goes back to the queue, where another worker may have better luck; see ``ChunkScheduler.return_all``."""
        self._directories.give_up()
        self._dispatch.return_all(keep_begun=keep_begun)

    def obey(self) -> None:
        """Every lane judges the orders in force, or is ended."""
        self._group.obey()

    def reload(self, within_s: float = RELOAD_TIMEOUT_S) -> None:
        """Every lane reads its files again and judges the orders in force, or is ended after ``within_s``."""
        self._group.reload(within_s)

    def reload_problems(self) -> list[str] | None:
        """What lanes found wrong with their files; None while one owes its answer."""
        return self._group.reload_problems()

    def change(self, spec: LaneSpec, most_lanes: int) -> None:
        """From now on lanes are as ``spec`` says; those that run end when they have answered what they have."""
        self._group.change(spec, most_lanes)
        self._circuit.close()
        self._room()

    def drain(self) -> None:
        """Take no more work until ``resume``; what no lane has goes back; lanes end when the rest is done."""
        self._drained = True
        self.return_waiting(keep_begun=True)
        self._end_drained_lanes()

    def resume(self) -> None:
        """Take work again."""
        self._drained = False
        self._room()

    def _end_drained_lanes(self) -> None:
        if self._drained and not self.load:
            self._group.stop()

    def retire(self) -> None:
        """Take no more work; what waits goes back; lanes end when they have answered what they have."""
        self._group.closing = True
        self.return_waiting()
        self._group.reload(RELOAD_TIMEOUT_S)
        self._group.stop()

    @property
    def gone(self) -> bool:
        """Whether it was retired and no lane is left."""
        return self._group.closing and self._group.none_left

    @property
    def idle(self) -> bool:
        """Whether it has no lane, no work and no doubt: nothing would be lost with it."""
        nothing_left = self._group.none_left and not self.load
        return nothing_left and not self._circuit.in_doubt and not self._dispatch.remembers

    def tick(self) -> None:
        """About once a second: close the circuit when it is time, end lanes that are silent or idle."""
        if self._circuit.close_if_due(self._group.spec.settings):
            self._room()
        self._end_drained_lanes()
        if not self.load and self._now_s() - self._given_at > self._idle_s:
            self._dispatch.forget()
        self._group.end_overdue(self._now_s(), self._idle_s)

    def kill(self) -> None:
        """End all lanes now; what they had goes back, as perhaps signed."""
        self._group.kill()
        self.return_waiting()

    async def close(self, within_s: float) -> None:
        """End all lanes: ask, then kill what is left after the call timeout, or ``within_s`` if that is shorter."""
        await self._group.close(within_s)
