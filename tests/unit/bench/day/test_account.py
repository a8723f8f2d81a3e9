"""A made-up day as parts of a report."""

from __future__ import annotations

import msgspec
import pytest

from bench.capacity.planning import DEFAULT_MODEL
from bench.day import account
from bench.day.curve import AFTER, BEFORE, PEAK, compressed_day
from bench.day.messages import ClassResult, LoadResult, Progress
from bench.day.observation import Sample
from bench.day.processes import CLIENT, REDIS, SEALER, WORKER, lane_group
from bench.day.results import Day, demands_and_costs, usage
from bench.day.tenants import Tier, tenants_of
from bench.measurement.machine import BusynessReading, Machine
from bench.measurement.percentiles import Percentiles
from bench.report.data import make_report
from bench.report.page import render_page
from queueing.protocol.algorithms import KeyKind

PHASES = compressed_day(300.0)
RSA, P256 = lane_group(KeyKind.RSA_3072), lane_group(KeyKind.P256)
MEAN_PER_S = 1000
CPU_US = {CLIENT: 10.0, REDIS: 2.0, WORKER: 20.0, SEALER: 5.0, RSA: 30.0, P256: 40.0}
"""CPU per signature of all kinds; half of them are of either kind."""


def asked(at_s: float) -> int:
    return round(MEAN_PER_S * sum(p.level * max(0.0, min(at_s, p.ends_s) - p.starts_s) for p in PHASES))


def sample(at: int) -> Sample:
    return Sample(
        at_s=float(at),
        cpu_s={group: us * asked(at) / 1e6 for group, us in CPU_US.items()},
        rss_bytes={WORKER: 80_000_000, RSA: 90_000_000, P256: 45_000_000},
        processes={WORKER: 1, RSA: 2, P256: 1},
        redis_bytes=50_000_000,
        log_bytes=100 * asked(at),
        record_bytes=60 * asked(at),
        seal_lag_s=0.5,
        machine_busy_s=at * 1.0,
        machine_idle_s=at * 1.0,
        machine_steal_s=0.0,
    )


def percentiles(count: int) -> Percentiles:
    return Percentiles(count=count, mean_ms=5, p50_ms=5, p90_ms=8, p99_ms=20, p999_ms=30, max_ms=40)


def classes() -> list[ClassResult]:
    return [
        ClassResult(
            tier=Tier.ENTERPRISE,
            kind=kind,
            phase=phase.name,
            requests=10,
            digests=round(MEAN_PER_S * phase.level * phase.seconds / 2),
            failed_digests=0,
            latency=percentiles(10),
        )
        for phase in PHASES
        for kind in (KeyKind.RSA_3072, KeyKind.P256)
    ]


@pytest.fixture
def day() -> Day:
    """Everything is answered half a second later."""
    points = [Progress(at_s=at, asked=asked(at), answered=max(0, asked(at) - 500)) for at in range(301)]
    return Day(
        phases=PHASES,
        tenants=tenants_of(1000, 500e6, model=DEFAULT_MODEL, peak_factor=3.0),
        came=["tenant-0001", "tenant-0002", "tenant-0011"],
        load=LoadResult(classes=classes(), progress=points, failures={}, dropped=0, late_ms={PEAK: 3.0}),
        samples=[sample(at) for at in range(301)],
        lane_pss_bytes=[30_000_000, 34_000_000],
        cores=2,
    )


def test_a_day_that_is_borne_meets_every_rule(day: Day) -> None:
    """Two rules for each phase, one for each kind of memory, one for failures."""
    found = account.thresholds(day)
    assert [threshold.name for threshold in found if not threshold.ok] == []
    assert len(found) == 1 + 2 * 3 + 3


def test_a_digest_that_was_not_signed_or_not_asked_for_is_a_missed_rule(day: Day) -> None:
    load = msgspec.structs.replace(day.load, failures={"key.disabled": 2}, dropped=64)
    first = account.thresholds(msgspec.structs.replace(day, load=load))[0]
    assert (first.ok, first.value) == (False, 66)


def test_a_peak_with_an_incident_is_judged_by_its_recovery(day: Day) -> None:
    """Nothing was felt: 0 s. One that never began, in a run that was too short, is a missed rule."""
    felt = msgspec.structs.replace(day, incident="a worker is killed", incident_s=125.0)
    names = {threshold.name: threshold for threshold in account.thresholds(felt)}
    assert "day: sustained share of the rate at the peak" not in names
    assert names["day: a worker is killed: time until the backlog is gone"].value == 0
    never = msgspec.structs.replace(day, incident="a worker is killed")
    assert not {t.name: t for t in account.thresholds(never)}[
        "day: a worker is killed: time until the backlog is gone"
    ].ok


def test_a_row_has_the_cpu_of_its_phase_by_process(day: Day) -> None:
    """The sealer counts with the worker, and lanes of both kinds together."""
    found = {row.scenario: row for row in account.rows(day)}
    assert set(found) == {f"day, {name}" for name in (BEFORE, PEAK, AFTER)}
    peak = found[f"day, {PEAK}"]
    assert peak.signatures_per_s == pytest.approx(3000)
    cpu = peak.cpu_us_per_signature
    assert (cpu.client, cpu.redis, cpu.worker, cpu.lane) == pytest.approx((10.0, 2.0, 25.0, 70.0), rel=0.01)
    assert "of the machine's 2 cores the service takes 15%" in peak.note  # 97 us x 3,000/s of 2 cores
    assert "others and the benchmark itself 34%" in peak.note  # half is busy, and 107 us x 3,000/s are ours


def test_costs_of_the_plan_are_by_kind_of_key(day: Day) -> None:
    """A lane's CPU is that of its own kind's signatures, of which there are half as many."""
    demands, costs = demands_and_costs(day, 500e6, 3.0)
    assert sum(demand.per_day for demand in demands) == pytest.approx(500e6)
    assert costs[KeyKind.RSA_3072].lane_us == pytest.approx(60.0)
    assert costs[KeyKind.P256].lane_us == pytest.approx(80.0)
    assert costs[KeyKind.P256].worker_us == pytest.approx(25.0)


def test_costs_are_of_what_was_answered_meanwhile(day: Day) -> None:
    """A peak of which half is answered later has the CPU of half: the plan must not spread it over all that was due."""
    slow = [
        Progress(at_s=at, asked=asked(at), answered=min(asked(at), 100_000 + 1500 * max(0, at - 100)))
        for at in range(301)
    ]
    late = msgspec.structs.replace(day, load=msgspec.structs.replace(day.load, progress=slow))
    _, costs = demands_and_costs(late, 500e6, 3.0)
    assert costs[KeyKind.P256].worker_us == pytest.approx(2 * 25.0)
    assert costs[KeyKind.RSA_3072].lane_us == pytest.approx(2 * 60.0)
    (peak,) = (row for row in account.rows(late) if row.scenario == f"day, {PEAK}")
    assert peak.cpu_us_per_signature.worker == pytest.approx(2 * 25.0)


def test_latency_is_by_tier_kind_and_phase(day: Day) -> None:
    found = account.latencies(day)
    assert len(found) == 6
    assert [point.load_share for point in found] == pytest.approx([1 / 3, 1 / 3, 1, 1, 1 / 3, 1 / 3])
    assert found[2].offered_per_s == pytest.approx(1500)
    assert found[2].start_lag_max_ms == 3.0


def test_bytes_lanes_and_tenants_are_in_the_notes(day: Day) -> None:
    text = " ".join(account.notes(day))
    assert "2 enterprise, 1 large product" in text
    assert "100 bytes a signature" in text
    assert "60 bytes a signature" in text
    assert "late by up to 3 ms at the peak" in text
    assert "A lane takes 32 MB (PSS, 2 lanes" in text


def test_the_headline_says_what_was_not_sustained(day: Day) -> None:
    """Beyond 2,000/s nothing more is answered: two thirds of the peak."""
    assert account.headline(day).count(", sustained") == 2
    slow = [
        Progress(at_s=at, asked=asked(at), answered=min(asked(at), 100_000 + 2000 * max(0, at - 100)))
        for at in range(301)
    ]
    short = msgspec.structs.replace(day, load=msgspec.structs.replace(day.load, progress=slow))
    assert "2,000 of 3,000 signatures/s, NOT sustained (67%)" in account.headline(short)
    missed = [t.name for t in account.thresholds(short) if not t.ok]
    assert missed == [
        "day: sustained share of the rate at the peak",
        "day: backlog at the end of the phase at the peak",
    ]


def test_cpu_of_a_phase_needs_two_samples(day: Day) -> None:
    with pytest.raises(ValueError, match="two samples"):
        usage(day.samples[:1], PHASES[0])


def test_a_day_is_drawn_over_even_minutes(day: Day) -> None:
    """The first point is at minute 0, which has no logarithm."""
    growth = account.growth(day)
    assert {line.plot for line in growth} == {
        "Day: digests that wait",
        "Day: memory",
        "Day: lanes that run",
        "Day: disk",
    }
    assert all(not line.log_x and len(line.points) <= 160 for line in growth)
    report = make_report(
        mode="day",
        started_at="now",
        seconds=300.0,
        machine=Machine(
            cpu_model="x", cores=2, memory_bytes=1, kernel="k", system="s", python="3", versions={}
        ),
        busyness=BusynessReading(seconds=300.0, own_share=0.5, other_share=0.0, steal_share=0.0),
        thresholds=account.thresholds(day),
        headline=account.headline(day),
        rows=account.rows(day),
        latency=account.latencies(day),
        growth=growth,
    )
    assert "Day: memory" in render_page(report)
