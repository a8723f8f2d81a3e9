"""Incidents in the middle of the peak: a worker is killed, or Redis fails over. What was ended is started again, as its unit does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from bench.day.curve import PEAK, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.testbed.testbed import BenchTestbed

WORKER_DOWN_S: Final = 5.0
"""Until a killed worker is started again: `RestartSec` of a unit, and the start of a host's agent."""

NODE_DOWN_S: Final = 10.0
"""Until a killed node of Redis is started again, at the earliest. A replica is promoted in one to three seconds, later on a busy machine."""

MOST_DOWN_S: Final = 60.0
"""Time after which an incident whose second half may not come yet has failed."""


class IncidentFailed(RuntimeError):
    """Second half of an incident that may not come yet, after its time: the day shows nothing."""


class Incident(Protocol):
    """Something that ends, and is started again ``down_s`` later."""

    @property
    def name(self) -> str:
        """Name in a report."""

    @property
    def down_s(self) -> float:
        """Time until the second half, at least."""

    def begin(self, testbed: BenchTestbed) -> None:
        """End it."""

    def awaited(self, testbed: BenchTestbed) -> str:
        """Event without which it may not be started again, and that has not come yet; '' for none."""

    def end(self, testbed: BenchTestbed) -> None:
        """Start it again."""


@dataclass(frozen=True, slots=True)
class WorkerKilled:
    """SIGKILL of one worker of the testbed."""

    name: str = "a worker is killed"
    down_s: float = WORKER_DOWN_S

    def begin(self, testbed: BenchTestbed) -> None:
        """Kill it."""
        testbed.kill_worker()

    def awaited(self, testbed: BenchTestbed) -> str:  # noqa: ARG002 - as in the interface
        """Event before the restart: none."""
        return ""

    def end(self, testbed: BenchTestbed) -> None:
        """Start it again."""
        testbed.start_worker_again()


@dataclass(frozen=True, slots=True)
class RedisFailover:
    """SIGKILL of the primary of Redis."""

    name: str = "Redis fails over"
    down_s: float = NODE_DOWN_S

    def begin(self, testbed: BenchTestbed) -> None:
        """Kill the primary."""
        testbed.nodes.kill_primary()

    def awaited(self, testbed: BenchTestbed) -> str:
        """Promotion of a replica, as every Sentinel tells it: the node starts empty, and as a primary it would lose all jobs."""
        return testbed.nodes.awaited_promotion()

    def end(self, testbed: BenchTestbed) -> None:
        """Start the node again, as a replica."""
        testbed.nodes.start_again()


def moment_of(phases: Sequence[Phase]) -> float:
    """A quarter of the peak, so that most of it is left to recover in."""
    (peak,) = (phase for phase in phases if phase.name == PEAK)
    return peak.starts_s + peak.seconds / 4


class Timetable:
    """Begins and ends an incident when it is due."""

    def __init__(self, incident: Incident | None, at_s: float) -> None:
        self._incident = incident
        self._at_s = at_s
        self._halves = 0 if incident is not None else 2
        self.began_s: float | None = None

    def look(self, now_s: float, testbed: BenchTestbed) -> None:
        """Do what is due by now. Raises ``IncidentFailed`` where the second half cannot come within a minute."""
        if self._incident is None:
            return
        if self._halves == 0 and now_s >= self._at_s:
            self._incident.begin(testbed)
            self.began_s, self._halves = now_s, 1
        elif self._halves == 1 and self.began_s is not None and now_s >= self.began_s + self._incident.down_s:
            awaited = self._incident.awaited(testbed)
            if not awaited:
                self._incident.end(testbed)
                self._halves = 2
            elif now_s >= self.began_s + MOST_DOWN_S:
                raise IncidentFailed(f"{self._incident.name}: not within {MOST_DOWN_S:.0f} s: {awaited}")
