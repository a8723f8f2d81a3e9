"""Who counts what happens to the lanes (``workers.telemetry.metrics``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.lanes.protocol import Outcomes
    from workers.lanes.supervisor.circuit_breaker import Circuit
    from workers.lanes.supervisor.connection import ChunkSent


class LaneObserver(Protocol):
    """What is counted."""

    def lane_started(self, token: str, sessions: int) -> None:
        """A lane has logged in."""

    def lane_ended(self, token: str, sessions: int, reason: str | None) -> None:
        """A lane that had logged in is gone; with a reason it was not asked to."""

    def lane_failed(self, token: str, reason: str) -> None:
        """A lane was lost, or could not be reached, before it had logged in."""

    def chunk_done(self, token: str, chunk: ChunkSent, answer: Outcomes, seconds: float) -> None:
        """A lane answered a chunk."""

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        """The token is left alone, or used again."""
