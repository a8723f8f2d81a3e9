"""Rounds in turn, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from bench.alternation import Course, against, alternate
from bench.ceiling.measure import CeilingSession
from bench.load.flows import Measured


@dataclass
class Script:
    """Runs, in order."""

    lines: list[str] = field(default_factory=list)


class FakeFlow:
    def __init__(self, name: str, rates: list[float], script: Script) -> None:
        self._name, self._rates, self._script = name, iter(rates), script

    def round(self, seconds: float) -> Measured:
        self._script.lines.append(self._name)
        signatures = round(next(self._rates) * seconds)
        return Measured(
            signatures=signatures,
            seconds=seconds,
            cpu_s={"client": 0.5, "lane": 1.5},
            round_trips=signatures // 10,
        )


class FakeCeiling:
    def __init__(self, rates: list[float], script: Script) -> None:
        self._rates, self._script = rates, script

    def round(self, seconds: float) -> float:
        assert seconds > 0
        self._script.lines.append("ceiling")
        return 0.0

    def best_rates(self, last: int) -> list[float]:
        return self._rates[-last:]


def test_the_ceiling_is_measured_before_and_after_every_round() -> None:
    """Flows take turns in being first, and no two run without a look at the module in between."""
    script = Script()
    flows = {"a": FakeFlow("a", [100.0] * 2, script), "b": FakeFlow("b", [100.0] * 2, script)}
    ceiling = cast("CeilingSession", FakeCeiling([200.0] * 5, script))
    alternate(flows, ceiling, rounds=2, seconds=1.0, ceiling_seconds=0.1)
    assert script.lines == ["ceiling", "a", "ceiling", "b", "ceiling", "b", "ceiling", "a", "ceiling"]


def test_a_share_is_the_median_of_each_rounds_own_ratio() -> None:
    """A machine that slows down to a half slows both: the ratios stay what they are."""
    script = Script()
    flow = FakeFlow("a", [90.0, 45.0, 44.0], script)
    ceiling = cast("CeilingSession", FakeCeiling([100.0, 100.0, 0.0, 88.0], script))
    course = alternate({"a": flow}, ceiling, rounds=3, seconds=10.0, ceiling_seconds=0.1)["a"]
    assert course.ceilings_per_s == [100.0, 50.0, 44.0]
    assert course.share == pytest.approx(0.9)  # of 0.9, 0.9 and 1.0


def test_without_a_module_there_is_no_share() -> None:
    """A simulated device has no ceiling that is worth the name."""
    course = alternate({"a": FakeFlow("a", [10.0], Script())}, None, rounds=1, seconds=1.0)["a"]
    assert course.share is None
    assert course.ceiling_per_s is None


def test_cpu_and_round_trips_are_per_signature_over_all_rounds() -> None:
    """0.5 s of the client's CPU for 100 signatures and as much for 300 are 2,500 us each."""
    course = alternate({"a": FakeFlow("a", [100.0, 300.0], Script())}, None, rounds=2, seconds=1.0)["a"]
    assert course.cpu.client == pytest.approx(2500.0)
    assert course.cpu.lane == pytest.approx(7500.0)
    assert course.cpu.redis == 0.0
    assert course.round_trips_per_signature == pytest.approx(0.1)


def test_two_flows_are_compared_round_by_round() -> None:
    """A round in which the machine was slow for both does not move the ratio."""
    ours = Course(rounds=[Measured(signatures=n, seconds=1.0) for n in (800, 80, 900)])
    other = Course(rounds=[Measured(signatures=n, seconds=1.0) for n in (100, 10, 100)])
    assert against(ours, other) == pytest.approx(8.0)
