"""Rounds in turn: on a shared machine only ratios of neighbours hold, so everything is measured that way."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.ceiling.measure import CeilingSession
from bench.load.flows import Flow, Measured
from bench.measurement.cpu import GROUPS
from bench.report.data import CpuSplit

LOOKS: Final = 2
KEPT_DRIVES: Final = 2


@dataclass(slots=True, kw_only=True)
class Course:
    """All rounds of one flow; ``ceilings_per_s`` holds for each round what the module did just before and after."""

    rounds: list[Measured] = field(default_factory=list)
    ceilings_per_s: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """The median rate."""
        return statistics.median(each.per_s for each in self.rounds)

    @property
    def ceiling_per_s(self) -> float | None:
        """The median ceiling beside it; None where no module was measured."""
        return statistics.median(self.ceilings_per_s) if self.ceilings_per_s else None

    @property
    def share(self) -> float | None:
        """The median over rounds of the rate against the ceiling beside it."""
        if not self.ceilings_per_s:
            return None
        pairs = zip(self.rounds, self.ceilings_per_s, strict=True)
        return statistics.median(each.per_s / ceiling for each, ceiling in pairs)

    @property
    def cpu(self) -> CpuSplit:
        """CPU microseconds per signature over all rounds."""
        signatures = sum(each.signatures for each in self.rounds)
        used = {
            group: 1e6 * sum(each.cpu_s.get(group, 0.0) for each in self.rounds) / signatures
            for group in GROUPS
        }
        return CpuSplit(**used)

    @property
    def round_trips_per_signature(self) -> float:
        """Requests that Redis read from clients and workers, per signature."""
        return sum(each.round_trips for each in self.rounds) / sum(each.signatures for each in self.rounds)


def first_look(session: CeilingSession, seconds: float) -> None:
    """Find the best ways to drive the module, in short rounds; the others are closed."""
    for _ in range(LOOKS):
        session.round(seconds / 2)
    session.keep_best(KEPT_DRIVES)


def alternate(
    flows: Mapping[str, Flow],
    session: CeilingSession | None,
    *,
    rounds: int,
    seconds: float,
    ceiling_seconds: float = 0.0,
) -> dict[str, Course]:
    """Each flow in each round, the ceiling before and after each flow; the order shifts by one each round."""
    courses = {name: Course() for name in flows}
    order = list(flows)
    places: list[str] = []
    _ceiling(session, ceiling_seconds)
    for _ in range(rounds):
        for name in order:
            courses[name].rounds.append(flows[name].round(seconds))
            places.append(name)
            _ceiling(session, ceiling_seconds)
        order.append(order.pop(0))
    if session is not None:
        rates = session.best_rates(len(places) + 1)
        for place, name in enumerate(places):
            courses[name].ceilings_per_s.append((rates[place] + rates[place + 1]) / 2)
    return courses


def against(ours: Course, other: Course) -> float:
    """The median over rounds of how many times faster one flow was than the other in the same round."""
    return statistics.median(
        one.per_s / two.per_s for one, two in zip(ours.rounds, other.rounds, strict=True)
    )


def _ceiling(session: CeilingSession | None, seconds: float) -> None:
    if session is not None:
        session.round(seconds)
