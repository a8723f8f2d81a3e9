"""Incidents of a day: begun at their moment, and started again when what has to come before has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from bench.day.events import (
    MOST_DOWN_S,
    NODE_DOWN_S,
    WORKER_DOWN_S,
    Incident,
    IncidentFailed,
    RedisFailover,
    Timetable,
    WorkerKilled,
)

if TYPE_CHECKING:
    from bench.testbed.testbed import BenchTestbed


@dataclass
class Testbed:
    """A testbed whose primary is killed; ``waiting``: what the promotion waits for. It is its own nodes."""

    __test__ = False

    waiting: str = "all Sentinels name another primary"
    done: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> Testbed:
        return self

    def kill_primary(self) -> None:
        self.done.append("killed")

    def start_again(self) -> None:
        self.done.append("started")

    kill_worker, start_worker_again = kill_primary, start_again

    def awaited_promotion(self) -> str:
        return self.waiting


@pytest.fixture
def testbed() -> Testbed:
    return Testbed()


def look(timetable: Timetable, now_s: float, testbed: Testbed) -> list[str]:
    """What was done until now."""
    timetable.look(now_s, cast("BenchTestbed", testbed))
    return testbed.done


@pytest.mark.parametrize(
    "incident, down_s",
    [(WorkerKilled(), WORKER_DOWN_S), (RedisFailover(), NODE_DOWN_S)],
    ids=["worker", "redis"],
)
def test_what_was_killed_is_started_again_after_its_time(
    testbed: Testbed, incident: Incident, down_s: float
) -> None:
    """Once; the moment is that of the look."""
    testbed.waiting = ""
    timetable = Timetable(incident, 100.0)
    assert look(timetable, 99.0, testbed) == []
    assert look(timetable, 101.0, testbed) == ["killed"]
    assert look(timetable, 100.9 + down_s, testbed) == ["killed"]
    assert look(timetable, 101.0 + down_s, testbed) == ["killed", "started"]
    assert look(timetable, 1000.0, testbed) == ["killed", "started"]


def test_a_primary_is_not_started_again_before_another_is_promoted(testbed: Testbed) -> None:
    """It is empty: as the primary it would lose what clients were told was accepted."""
    timetable = Timetable(RedisFailover(), 0.0)
    look(timetable, 0.0, testbed)
    assert look(timetable, NODE_DOWN_S + 5, testbed) == ["killed"]
    testbed.waiting = ""
    assert look(timetable, NODE_DOWN_S + 6, testbed) == ["killed", "started"]


def test_a_promotion_that_does_not_come_ends_the_day_with_what_was_awaited(testbed: Testbed) -> None:
    timetable = Timetable(RedisFailover(), 0.0)
    look(timetable, 0.0, testbed)
    look(timetable, MOST_DOWN_S - 1, testbed)
    with pytest.raises(IncidentFailed) as failed:
        look(timetable, MOST_DOWN_S, testbed)
    assert str(failed.value) == "Redis fails over: not within 60 s: all Sentinels name another primary"
    assert testbed.done == ["killed"]


def test_a_day_without_incident_has_none(testbed: Testbed) -> None:
    assert look(Timetable(None, 0.0), 1000.0, testbed) == []
