"""Pool of the lanes of one token: feeds them with jobs, restarts them, and opens the circuit breaker when the token fails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from queueing.errors import TokenUnavailable
from workers.lanes.exit_codes import LOGIN_TIMED_OUT
from workers.lanes.protocol import KEY_NOT_FOUND, SignedDirectory, SignedStatement
from workers.lanes.supervisor.chunk_scheduler import ChunkScheduler
from workers.lanes.supervisor.circuit_breaker import Circuit, CircuitBreaker
from workers.lanes.supervisor.lane_metrics import MissingKeys
from workers.lanes.supervisor.lost_lane import Cause, ExitReason, TokenAfter
from workers.lanes.supervisor.pending_requests import LaneRequests
from workers.lanes.supervisor.pool_status import PoolStatus
from workers.lanes.supervisor.process_group import RELOAD_TIMEOUT_S, LaneProcesses

if TYPE_CHECKING:
    from workers.config.settings import WorkerSettings
    from workers.lanes.protocol import Outcomes
    from workers.lanes.supervisor.batching import Slice
    from workers.lanes.supervisor.connection import ChunkSent, LaneConnection, RequestAnswer
    from workers.lanes.supervisor.hsm_sharing import SharedHsm
    from workers.lanes.supervisor.process_group import LaneServices
    from workers.lanes.supervisor.spawn import LaneSpec

log = logging.getLogger("sigmill.lanes")

AVOID_S: Final = 5.0
"""A token that lacked a key is not used with it for so long, where another token has the key."""


class TokenPool:
    """All lanes of one (tenant, token). Single-threaded: everything happens on the worker's loop.

    ``status`` reports about it, ``requests`` asks its lanes for directories and canaries; ``weight`` is that of the token
    in an HSM that it shares. ``drained``: an operator wants it to take no work.
    """

    def __init__(
        self,
        spec: LaneSpec,
        services: LaneServices,
        settings: WorkerSettings,
        *,
        most_lanes: int,
    ) -> None:
        self.token = spec.token
        self.tenant = spec.tenant
        self.given = 0  # digests, ever: of two equally loaded tokens the one that was given less is next
        self.weight = 1.0
        self.drained = False
        self._idle_s = settings.lane_idle_s
        self._observer = services.observer
        self._capacity_listener = services.capacity_listener
        self._now_s = services.now_s
        self._scheduler = ChunkScheduler(
            chunk_target_s=settings.chunk_target_s, poison_crashes=settings.poison_attempts
        )
        self._breaker = CircuitBreaker(
            spec.token,
            refused_pins=services.refused_pins,
            listener=services.observer,
            now_s=services.now_s,
            randomness=services.randomness,
        )
        self._processes = LaneProcesses(spec, services, most=most_lanes, listener=self, breaker=self._breaker)
        self.requests = LaneRequests(self._processes, self)
        self.status = PoolStatus(self._processes, self._scheduler, self._breaker)
        self._given_at = self._now_s()
        self._avoided: dict[tuple[str, int], float] = {}
        self.missing_keys = MissingKeys(spec.token, spec.tenant, services.observer)

    # Work

    @property
    def healthy(self) -> bool:
        """Whether jobs may be given to it: also when no lane runs, since one would be started."""
        return self._breaker.closed and not self._processes.closing and not self.drained

    def lacks(self, key: str, version: int) -> bool:
        """Whether the token did not have this key within the last ``AVOID_S``."""
        return self._avoided.get((key, version), 0.0) > self._now_s()

    def capacity(self) -> int:
        """Number of digests that it could start soon: every lane full, and as much again to come.

        0 while every lane has its next chunk and half of that is left: a claim costs the same for many.
        """
        if not self.healthy:
            return 0
        processes = self._processes
        one_more = 1 if self._scheduler.waiting_digests and not processes.start_postponed else 0
        possible = min(max(processes.count + one_more, 1), processes.most)
        full = self._scheduler.digests_for(possible, processes.spec.sessions)
        capacity = 2 * full - self.status.load
        return capacity if capacity >= full // 2 else 0

    def submit(self, slice_: Slice) -> None:
        """Sign this when a lane is free; its job receives the outcome. To be followed by ``pump``."""
        self.given += slice_.count
        self._given_at = self._now_s()
        self._scheduler.add(slice_)

    def pump(self) -> None:
        """Send to free lanes what is next; start a lane where one is missing."""
        if not self._breaker.closed or self._processes.closing:  # no lane will be started for it
            self.return_waiting()
            return
        if self.drained:
            self.return_waiting(keep_begun=True)
        self._scheduler.feed_all(
            sorted(self._processes.ready_lanes(), key=lambda lane: lane.digests_outstanding)
        )
        self.requests.send_waiting()
        if self._scheduler.waiting_digests:
            self._processes.start_one_more()

    def return_waiting(self, *, keep_begun: bool = False) -> None:
        """Requeue what no lane has, perhaps for another worker; see ``ChunkScheduler.return_waiting``."""
        self.requests.fail_waiting()
        self._scheduler.return_waiting(keep_begun=keep_begun)

    def share_hsm(self, hsm: SharedHsm | None) -> None:
        """Share this HSM with other tokens, or (None) have one for itself. What waits requests its operations again."""
        share = None if hsm is None else hsm.join(self, operations=self._processes.spec.sessions)
        self._scheduler.use_share(share, self._processes.busy_lanes())
        self.pump()

    # Events of lanes

    def chunk_answered(self, lane: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """Hand out the outcomes of a chunk, and feed the lane again."""
        self._observer.chunk_done(self.token, chunk, answer, busy_s)
        signed = any(signature for item in answer.items for signature in item.signatures)
        if signed:  # a refusal proves nothing about the token
            self._breaker.record_success()
        notes = [note for item in answer.items for note in item.errors.values()]
        if any(note.code == TokenUnavailable.reason for note in notes):
            self._avoided[chunk.group.key, chunk.group.version] = self._now_s() + AVOID_S
        if any(note.message == KEY_NOT_FOUND for note in notes):
            self.missing_keys.record(chunk.group.key, chunk.group.version, found=False)
        elif signed:
            self.missing_keys.record(chunk.group.key, chunk.group.version, found=True)
        self._scheduler.chunk_answered(lane, chunk, answer, busy_s)
        self._capacity_listener.capacity_freed()

    def request_answered(self, answer: RequestAnswer) -> None:
        """Give a directory or a canary to the caller that awaits it."""
        if isinstance(answer, SignedDirectory | SignedStatement):
            self._scheduler.record_signature()
        elif answer.error is None:
            self._breaker.record_success()
        self.requests.answered(answer)

    def lane_unreachable(self) -> None:
        """Count a lane that could not be started or reached, and pause."""
        self._observer.lane_failed(self.token, "unreachable")
        self._start_failed()

    def _start_failed(self, *, at_least_s: float = 0.0) -> None:
        """Open the circuit breaker, unless a lane is logged in: then the token only has no room for another lane."""
        if self._processes.has_ready_lane:
            self._processes.postpone_start(at_least_s=at_least_s)
        else:
            self._trip(Circuit.OPEN, at_least_s=at_least_s)

    def lane_ready(self, lane: LaneConnection) -> None:
        """Feed a lane that has logged in."""
        self._observer.lane_started(self.token, lane.sessions)
        self.pump()
        self._capacity_listener.capacity_freed()

    def lane_ended(self, lane: LaneConnection, end: ExitReason) -> None:
        """Take back what the lane had, open the circuit breaker if the token is to blame, and start another lane."""
        asked = end.cause is Cause.ASKED
        if lane.ready is not None:
            self._observer.lane_ended(self.token, lane.ready.sessions, None if asked else end.reason)
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
        after = self._scheduler.lane_ended(lane, end)
        self.requests.lane_ended(lane)
        if self._processes.closing:
            self.return_waiting()
        match after:
            case TokenAfter.PIN_REFUSED:
                self._trip(Circuit.REFUSED)
            case TokenAfter.FAILED:
                self._trip(Circuit.OPEN)
            case TokenAfter.NOT_STARTED:
                login_may_go_on = end.reason == LOGIN_TIMED_OUT
                self._start_failed(
                    at_least_s=self._processes.spec.settings.login_timeout_s if login_may_go_on else 0.0
                )
        self.pump()
        self._capacity_listener.capacity_freed()

    def _trip(self, circuit: Circuit, *, at_least_s: float = 0.0) -> None:
        log.error("circuit.opened", extra={"token": self.token, "circuit": circuit.value})
        self._breaker.trip(circuit, at_least_s=at_least_s)
        self.requests.fail_waiting()
        self._scheduler.circuit_opened()

    # Life

    def tick(self) -> None:
        """Close the circuit breaker when it is due, end lanes that are silent or idle; every 0.5 s, by the registry."""
        if self._breaker.close_if_due(self._processes.spec.settings):
            self._capacity_listener.capacity_freed()
        self._stop_drained_lanes()
        if not self.status.load and self._now_s() - self._given_at > self._idle_s:
            self._scheduler.forget_crashes()
        self._processes.end_overdue(self._now_s(), self._idle_s)

    def reload(self, within_s: float = RELOAD_TIMEOUT_S, *, files: bool = True) -> None:
        """Have every lane apply the stop orders in force, and read its files again if ``files``; see ``LaneProcesses``."""
        self._processes.reload(within_s, files=files)

    def change(self, spec: LaneSpec, most_lanes: int) -> None:
        """Start lanes by this ``spec`` from now on; those that run exit when they have answered what they have."""
        self._processes.change(spec, most_lanes)
        self.missing_keys.clear()
        self._breaker.close()
        self._capacity_listener.capacity_freed()

    def set_drained(self, *, drained: bool) -> None:
        """Drain the token: requeue what no lane has, stop the lanes when the rest is done. Or use it again."""
        self.drained = drained
        if not drained:
            self._capacity_listener.capacity_freed()
            return
        self.return_waiting(keep_begun=True)
        self._stop_drained_lanes()

    def _stop_drained_lanes(self) -> None:
        if self.drained and not self.status.load:
            self._processes.stop()

    def retire(self) -> None:
        """Take no more work, for ever: requeue what waits; lanes exit when they have answered what they have."""
        self._processes.closing = True
        self.return_waiting()
        self._processes.reload(RELOAD_TIMEOUT_S, files=True)
        self._processes.stop()

    def kill(self) -> None:
        """Kill all lanes; what they had is requeued, as perhaps signed."""
        self._processes.kill()
        self.return_waiting()

    async def close(self, within_s: float) -> None:
        """Stop all lanes; kill those that are left after the call timeout, or ``within_s`` if that is shorter."""
        await self._processes.close(within_s)
