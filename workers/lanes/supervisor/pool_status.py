"""Status of one token's pool, and counts over those of a worker, as others may ask for them. It changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.lanes.supervisor.circuit_breaker import Circuit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workers.lanes.supervisor.chunk_scheduler import ChunkScheduler
    from workers.lanes.supervisor.circuit_breaker import CircuitBreaker
    from workers.lanes.supervisor.process_group import LaneProcesses


class PoolStatus:
    """Status of one pool, from its lanes, its scheduler and its circuit breaker."""

    def __init__(self, processes: LaneProcesses, scheduler: ChunkScheduler, breaker: CircuitBreaker) -> None:
        self._processes = processes
        self._scheduler = scheduler
        self._breaker = breaker

    @property
    def can_sign(self) -> bool:
        """Whether a lane is logged in."""
        return self._processes.has_ready_lane

    @property
    def in_doubt(self) -> bool:
        """Whether the token failed when it was last used; unlike not ``healthy`` also while it is tried again."""
        return self._breaker.in_doubt

    @property
    def circuit(self) -> Circuit:
        """State of the circuit breaker."""
        return self._breaker.state

    @property
    def load(self) -> int:
        """Digests that wait or are in a lane."""
        in_lanes = sum(lane.digests_outstanding for lane in self._processes.busy_lanes())
        return self._scheduler.waiting_digests + in_lanes

    def sessions_of_lanes(self) -> list[int]:
        """Number of sessions of each lane that is logged in."""
        return self._processes.sessions_of_lanes()

    def sessions_busy(self) -> int:
        """Sessions that have something to sign; read from another thread it may be a moment old."""
        return sum(min(lane.sessions, lane.digests_outstanding) for lane in self._processes.busy_lanes())

    def reload_problems(self) -> list[str] | None:
        """Problems that lanes found in their files; None while one has not answered a reload."""
        return self._processes.reload_problems()

    @property
    def gone(self) -> bool:
        """Whether the pool was retired and no lane is left."""
        return self._processes.closing and self._processes.empty

    @property
    def idle(self) -> bool:
        """Whether it has no lane, no work, no doubt and no crash history: nothing would be lost with it."""
        nothing_left = self._processes.empty and not self.load
        return nothing_left and not self._breaker.in_doubt and not self._scheduler.has_crash_history


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryState:
    """Counts of lanes and sessions that are logged in; tokens with an open circuit breaker; drained tokens."""

    lanes: int
    sessions: int
    circuits_open: tuple[str, ...]
    drained: tuple[str, ...]

    @classmethod
    def of(cls, pools: Sequence[tuple[str, PoolStatus]], drained: Iterable[str]) -> RegistryState:
        """Counts over these tokens and the status of their pools."""
        sessions = [count for _, status in pools for count in status.sessions_of_lanes()]
        return cls(
            lanes=len(sessions),
            sessions=sum(sessions),
            circuits_open=tuple(
                sorted(token for token, status in pools if status.circuit is not Circuit.CLOSED)
            ),
            drained=tuple(sorted(drained)),
        )
