"""Verdicts over made-up days: what counts as sustained, flat and recovered."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bench.day.curve import compressed_day
from bench.day.messages import Progress
from bench.day.observation import Sample
from bench.day.processes import SEALER, WORKER, lane_group
from bench.day.rules import GROWTH_BYTES, longest_silence_s, memories, recovery_s, verdict
from queueing.protocol.algorithms import KeyKind

PHASES = compressed_day(300.0)
BEFORE, PEAK, AFTER = PHASES
MEAN_PER_S = 1000
MIB = 1 << 20


def asked(at_s: int) -> int:
    return round(MEAN_PER_S * sum(p.level * max(0.0, min(at_s, p.ends_s) - p.starts_s) for p in PHASES))


def progress(answered: Callable[[int], float]) -> list[Progress]:
    """A point each second; ``answered`` by the second, never more than was asked for."""
    return [
        Progress(at_s=at, asked=asked(at), answered=min(asked(at), round(answered(at)))) for at in range(301)
    ]


def sample(
    at_s: float, rss: dict[str, int], processes: dict[str, int], redis_bytes: int | None = None
) -> Sample:
    return Sample(
        at_s=at_s,
        cpu_s={},
        rss_bytes=rss,
        processes=processes,
        redis_bytes=redis_bytes,
        log_bytes=0,
        record_bytes=0,
        seal_lag_s=0.0,
        machine_busy_s=0.0,
        machine_idle_s=0.0,
        machine_steal_s=0.0,
    )


def test_answers_that_keep_up_are_sustained() -> None:
    """Half a second behind is the pipeline's own time, at any rate."""
    points = progress(lambda at: asked(at) - 500)
    for phase in PHASES:
        found = verdict(points, phase)
        assert found.sustained
        assert found.share == pytest.approx(1.0)
        assert found.asked_per_s == pytest.approx(MEAN_PER_S * phase.level)


def test_a_peak_beyond_the_capacity_says_which_rate_was_sustained() -> None:
    """2,000 of 3,000 a second: two thirds, and a backlog that the mean's phase then works off."""
    points = progress(lambda at: asked(at) if at <= 100 else 100_000 + 2000 * (at - 100))
    assert verdict(points, BEFORE).sustained
    peak = verdict(points, PEAK)
    assert not peak.sustained
    assert peak.answered_per_s == pytest.approx(2000)
    assert peak.share == pytest.approx(2 / 3)
    assert peak.backlog_at_end == pytest.approx(100_000)
    assert peak.backlog_most == 100_000
    assert verdict(points, AFTER).backlog_at_end == pytest.approx(0)


def test_a_phase_that_works_off_a_backlog_has_no_share_above_one() -> None:
    points = progress(lambda at: asked(at) if at > 299 else 0.99 * asked(at))
    assert verdict(points, AFTER).share == 1.0


def test_a_phase_without_requests_is_sustained() -> None:
    """A small day has none in a third of it."""
    found = verdict(
        [Progress(at_s=0.0, asked=0, answered=0), Progress(at_s=300.0, asked=0, answered=0)], PEAK
    )
    assert (found.sustained, found.share, found.backlog_s) == (True, 1.0, 0.0)


def test_a_verdict_needs_two_points() -> None:
    with pytest.raises(ValueError, match="two points"):
        verdict([Progress(at_s=0.0, asked=0, answered=0)], PEAK)


@pytest.mark.parametrize(
    "growth,flat", [(0, True), (5 * MIB, True), (12 * MIB, True), (14 * MIB, False), (-9 * MIB, True)]
)
def test_memory_is_flat_where_the_same_rate_takes_no_more(growth: int, flat: bool) -> None:
    """Of 100 MiB a twentieth and 8 MiB; what the peak takes between does not count, but is said."""
    base = 100 * MIB
    samples = [
        sample(at, {WORKER: base if at < 100 else 2 * base if at < 200 else base + growth}, {WORKER: 1})
        for at in range(301)
    ]
    (found,) = memories(samples, PHASES)
    assert found.name == "worker"
    assert found.flat is flat
    assert found.most_bytes == 2 * base
    assert found.growth_bytes == growth
    assert found.allowed_bytes == pytest.approx(5 * MIB + GROWTH_BYTES)


def test_more_lanes_are_no_growth_of_a_lane() -> None:
    """Lanes come with their tenants' builds. One that grows is found among many, of either kind of key."""
    rsa, p256 = lane_group(KeyKind.RSA_3072), lane_group(KeyKind.P256)
    more = [sample(at, {rsa: at * 40 * MIB, p256: 40 * MIB}, {rsa: at, p256: 1}) for at in range(301)]
    (found,) = memories(more, PHASES)
    assert found.growth_bytes == pytest.approx(0)
    fat = [sample(at, {rsa: 10 * (40 + at // 5) * MIB}, {rsa: 10}) for at in range(301)]
    (found,) = memories(fat, PHASES)
    assert not found.flat


def test_redis_and_the_sealer_are_judged_too() -> None:
    """A moment at which Redis did not answer has no memory, and is left out."""
    samples = [
        sample(at, {SEALER: 30 * MIB}, {SEALER: 1}, None if at % 7 == 0 else (10 + at) * MIB)
        for at in range(301)
    ]
    found = {memory.name: memory for memory in memories(samples, PHASES)}
    assert set(found) == {"sealer", "Redis"}
    assert found["sealer"].flat
    assert not found["Redis"].flat


def test_caches_that_fill_at_the_start_are_no_growth() -> None:
    """Only the last fifth of a phase is compared."""
    samples = [sample(at, {WORKER: min(at, 79) * MIB}, {WORKER: 1}) for at in range(301)]
    (found,) = memories(samples, PHASES)
    assert found.growth_bytes == 0


def silent(begins_s: int, ends_s: int, per_s: float) -> list[Progress]:
    """Nothing is answered for a while, and then so much a second until all is."""
    held = asked(begins_s)
    points = []
    for at in range(301):
        answered = (
            asked(at)
            if at <= begins_s
            else held
            if at <= ends_s
            else min(asked(at), held + round(per_s * (at - ends_s)))
        )
        points.append(Progress(at_s=at, asked=asked(at), answered=answered))
    return points


def test_an_incident_lasts_until_its_backlog_is_gone() -> None:
    """10 s of silence at 3,000/s are worked off with 2,000/s to spare: 15 s, less the 6,000 that may wait."""
    points = silent(125, 135, 5000)
    assert longest_silence_s(points, 125) == 10
    assert recovery_s(points, PHASES, 125) == pytest.approx(10 + (30_000 - 6_000) / 2000, abs=2)


def test_an_incident_that_was_not_felt_takes_no_time() -> None:
    """One second without answers waits below the bound."""
    points = silent(125, 126, 6000)
    assert recovery_s(points, PHASES, 125) == 0
    assert longest_silence_s(points, 125) == 1


def test_an_incident_without_an_end_is_no_recovery() -> None:
    points = silent(125, 300, 1.0)
    assert math.isinf(recovery_s(points, PHASES, 125))


def test_silence_without_anything_to_answer_is_none() -> None:
    points = [Progress(at_s=at, asked=64, answered=64) for at in range(50)]
    assert longest_silence_s(points, 0) == 0
