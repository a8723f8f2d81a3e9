"""Verdicts over the samples of a day: was the rate sustained, is memory flat, and how long an incident was felt. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from bench.day.curve import AFTER, BEFORE, Phase, phase_at
from bench.day.messages import Progress
from bench.day.observation import Sample
from bench.day.processes import LANES, SEALER, WORKER

BACKLOG_S: Final = 2.0
"""Seconds of the phase's own rate that may wait: what answers in a second or less never has more."""

COMPARED: Final = 0.2
"""Last part of a phase in which memory is read: caches are full by then."""

GROWTH: Final = 0.05
GROWTH_BYTES: Final = 8 << 20
"""Memory is flat where the same rate after the peak takes no more than before it, by a twentieth and 8 MiB: an arena of malloc's."""


class PhaseVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as its clients saw it: rates of its second half, digests that waited at its end, and at most.

    ``share``: answered of what was asked for; 1 where nothing was.
    """

    phase: Phase
    asked_per_s: float
    answered_per_s: float
    backlog_at_end: float
    backlog_most: int

    @property
    def share(self) -> float:
        """Sustained part of the rate."""
        return min(1.0, self.answered_per_s / self.asked_per_s) if self.asked_per_s else 1.0

    @property
    def backlog_s(self) -> float:
        """The backlog at the end, in seconds of the phase's rate."""
        return self.backlog_at_end / self.asked_per_s if self.asked_per_s else 0.0

    @property
    def sustained(self) -> bool:
        """Whether the backlog at the end is not one that grows."""
        return self.backlog_s <= BACKLOG_S


def verdict(progress: Sequence[Progress], phase: Phase) -> PhaseVerdict:
    """Verdict on a phase; raises ``ValueError`` without two points."""
    middle_s = (phase.starts_s + phase.ends_s) / 2
    half_s = phase.ends_s - middle_s
    asked, answered = (
        (_at(progress, phase.ends_s, count) - _at(progress, middle_s, count)) / half_s
        for count in (_asked, _answered)
    )
    inside = [point.backlog for point in progress if phase.starts_s <= point.at_s <= phase.ends_s]
    return PhaseVerdict(
        phase=phase,
        asked_per_s=asked,
        answered_per_s=answered,
        backlog_at_end=_at(progress, phase.ends_s, _asked) - _at(progress, phase.ends_s, _answered),
        backlog_most=max(inside, default=0),
    )


def answered_between(progress: Sequence[Progress], begins_s: float, ends_s: float) -> float:
    """Digests that were answered in this time; raises ``ValueError`` without two points."""
    return _at(progress, ends_s, _answered) - _at(progress, begins_s, _answered)


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of one process of a group, or of Redis, at the mean before and after the peak, and its most."""

    name: str
    before_bytes: float
    after_bytes: float
    most_bytes: float

    @property
    def growth_bytes(self) -> float:
        """Growth; negative where there is less."""
        return self.after_bytes - self.before_bytes

    @property
    def allowed_bytes(self) -> float:
        """Growth that counts as flat."""
        return GROWTH * self.before_bytes + GROWTH_BYTES

    @property
    def flat(self) -> bool:
        """Whether the same rate takes the same memory."""
        return self.growth_bytes <= self.allowed_bytes


def memories(samples: Sequence[Sample], phases: Sequence[Phase]) -> list[Memory]:
    """Memory of a worker, a sealer, a lane and Redis; without what had none at the mean before or after the peak."""
    readings: dict[str, Callable[[Sample], float | None]] = {
        "worker": lambda sample: _each(sample, (WORKER,)),
        "sealer": lambda sample: _each(sample, (SEALER,)),
        "lane, on average": lambda sample: _each(sample, LANES),
        "Redis": lambda sample: sample.redis_bytes,
    }
    found = []
    for name, reading in readings.items():
        before, after = (
            _values(_last_part(samples, phase), reading) for phase in phases if phase.name in (BEFORE, AFTER)
        )
        if before and after:
            found.append(
                Memory(
                    name=name,
                    before_bytes=statistics.median(before),
                    after_bytes=statistics.median(after),
                    most_bytes=max(_values(samples, reading)),
                )
            )
    return found


def recovery_s(progress: Sequence[Progress], phases: Sequence[Phase], event_s: float) -> float:
    """Seconds from an incident until no more than ``BACKLOG_S`` of the rate waits, and stays so; 0 where it never did.

    Infinite where it is so at the last point, too.
    """
    felt_s = 0.0
    late = [point for point in progress if point.at_s >= event_s]
    for point, after in pairwise(late):
        if point.backlog > BACKLOG_S * _rate(progress, phase_at(phases, point.at_s)):
            felt_s = after.at_s - event_s
    if late and late[-1].backlog > BACKLOG_S * _rate(progress, phases[-1]):
        return float("inf")
    return felt_s


def longest_silence_s(progress: Sequence[Progress], event_s: float) -> float:
    """Longest time after an incident in which nothing was answered although digests waited, to a second."""
    longest = began = 0.0
    for point, after in pairwise(point for point in progress if point.at_s >= event_s):
        if after.answered > point.answered or not after.backlog:
            began = 0.0
            continue
        began = began or point.at_s
        longest = max(longest, after.at_s - began)
    return longest


def _rate(progress: Sequence[Progress], phase: Phase) -> float:
    asked = _at(progress, phase.ends_s, _asked) - _at(progress, phase.starts_s, _asked)
    return asked / phase.seconds


def _asked(point: Progress) -> int:
    return point.asked


def _answered(point: Progress) -> int:
    return point.answered


def _at(progress: Sequence[Progress], at_s: float, count: Callable[[Progress], int]) -> float:
    """A count at a moment, between two points by the line through them."""
    if len(progress) < 2:
        raise ValueError("a rate needs two points")
    for before, after in pairwise(progress):
        if at_s <= after.at_s:
            part = (at_s - before.at_s) / max(after.at_s - before.at_s, 1e-9)
            return count(before) + max(part, 0.0) * (count(after) - count(before))
    return count(progress[-1])


def _last_part(samples: Iterable[Sample], phase: Phase) -> list[Sample]:
    begins_s = phase.ends_s - COMPARED * phase.seconds
    return [sample for sample in samples if begins_s <= sample.at_s <= phase.ends_s]


def _values(samples: Iterable[Sample], reading: Callable[[Sample], float | None]) -> list[float]:
    return [value for sample in samples if (value := reading(sample)) is not None]


def _each(sample: Sample, groups: Iterable[str]) -> float | None:
    """Memory of one process of these groups, on average."""
    names = tuple(groups)
    count = sum(sample.processes.get(name, 0) for name in names)
    return sum(sample.rss_bytes.get(name, 0) for name in names) / count if count else None
