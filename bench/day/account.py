"""A finished day as parts of a report: thresholds, rows, latency, growth and notes. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from bench.day.curve import PEAK, Phase
from bench.day.messages import ClassResult
from bench.day.processes import CLIENT, LANES, REDIS, SEALER, SERVICE_LANE, WORKER
from bench.day.results import SERVICE, Day, machine_in_words, usage
from bench.day.rules import (
    BACKLOG_S,
    Memory,
    PhaseVerdict,
    answered_between,
    longest_silence_s,
    recovery_s,
)
from bench.day.tenants import DIGESTS_PER_BUILD, Tier
from bench.report.data import (
    CpuSplit,
    Growth,
    GrowthPoint,
    LatencyPoint,
    Row,
    Threshold,
    at_least,
    at_most,
    throughput_row,
)
from queueing.protocol.algorithms import DEFAULT_FOR_KEY

SHARE: Final = 0.99
"""Least part of a phase's rate that counts as sustained: arrivals are random, and answers lie a moment behind."""

RECOVERY_S: Final = 60.0
"""A killed worker's leases end after 15 s, a failover takes some seconds, and what waited is signed beside what comes."""

MB: Final = 1e6
_T = TypeVar("_T")
POINTS: Final = 120
"""Of a line in the report."""


def thresholds(day: Day) -> list[Threshold]:
    """The rules of a day."""
    unsigned = day.load.dropped + sum(day.load.failures.values())
    found = [at_most("day: digests that were not signed", unsigned, 0)]
    for each in day.verdicts():
        if (
            day.incident is None or each.phase.name != PEAK
        ):  # a peak with an incident is judged by its recovery
            found.append(at_least(f"day: sustained share of the rate {each.phase.name}", each.share, SHARE))
        name = f"day: backlog at the end of the phase {each.phase.name}"
        found.append(at_most(name, each.backlog_s, BACKLOG_S, unit="s of the rate"))
    if day.incident is not None:
        value = None if day.incident_s is None else recovery_s(day.load.progress, day.phases, day.incident_s)
        name = f"day: {day.incident}: time until the backlog is gone"
        found.append(at_most(name, value, RECOVERY_S, unit="s"))
    return found + [_memory_rule(memory) for memory in day.memories()]


def _memory_rule(memory: Memory) -> Threshold:
    before, after, most = (
        f"{size / MB:,.1f} MB" for size in (memory.before_bytes, memory.after_bytes, memory.most_bytes)
    )
    return at_most(
        f"day: memory of {memory.name} after the peak beyond that before it",
        memory.growth_bytes / MB,
        memory.allowed_bytes / MB,
        unit="MB",
        note=f"{before} before, {after} after, {most} at most",
    )


def rows(day: Day) -> list[Row]:
    """A row for each phase: rate, and CPU per signature. The sealer is with the worker."""
    return [_row(day, each) for each in day.verdicts()]


def _row(day: Day, each: PhaseVerdict) -> Row:
    used = usage(day.samples, each.phase)
    signatures = max(answered_between(day.load.progress, used.begins_s, used.ends_s), 1.0)
    groups = {
        "client": (CLIENT,),
        "redis": (REDIS,),
        "worker": (WORKER, SEALER, SERVICE_LANE),
        "lane": LANES,
    }
    cpu = CpuSplit(**{name: 1e6 * used.of(*parts) / signatures for name, parts in groups.items()})
    sealer_us = 1e6 * used.of(SEALER) / signatures
    return throughput_row(
        scenario=f"day, {each.phase.name}",
        algorithm="RSA-3072 and P-256",
        digests_per_job=DIGESTS_PER_BUILD[Tier.ENTERPRISE],
        signatures_per_s=each.answered_per_s,
        module_ceiling_per_s=None,
        cpu=cpu,
        note=f"{each.asked_per_s:,.0f}/s were due; the sealer is {sealer_us:.1f} us of the worker's;"
        f" {machine_in_words(used, day.cores)}",
    )


def latencies(day: Day) -> list[LatencyPoint]:
    """A point for each tier, kind of key and phase. The load is that of the peak, in parts."""
    return [
        _latency(day, each, phase)
        for phase in day.phases
        for each in day.load.classes
        if each.phase == phase.name
    ]


def _latency(day: Day, each: ClassResult, phase: Phase) -> LatencyPoint:
    peak = max(phase.level for phase in day.phases)
    return LatencyPoint(
        scenario=f"day: {each.tier}, {DIGESTS_PER_BUILD[each.tier]} a request; load as part of the peak",
        algorithm=f"{DEFAULT_FOR_KEY[each.kind]}, {each.kind}",
        load_share=phase.level / peak,
        offered_per_s=each.digests / phase.seconds,
        answered_per_s=(each.digests - each.failed_digests) / phase.seconds,
        latency=each.latency,
        start_lag_max_ms=day.load.late_ms.get(phase.name, 0.0),
    )


def growth(day: Day) -> list[Growth]:
    """Lines over the day: backlog, memory, lanes, log and record."""
    samples = _thinned(day.samples)
    backlog = [GrowthPoint(x=point.at_s / 60, y=point.backlog) for point in _thinned(day.load.progress)]
    found = [_line("Day: digests that wait", "due and not answered", "digests", backlog)]
    found += [
        _memory(group, [(s.at_s, s.rss_bytes.get(group, 0)) for s in samples])
        for group in (WORKER, SEALER, CLIENT)
    ]
    lanes = [(s.at_s, sum(s.rss_bytes.get(group, 0) for group in LANES)) for s in samples]
    found.append(_memory("lanes, shared pages counted in each", lanes))
    found.append(_memory("Redis", [(s.at_s, s.redis_bytes) for s in samples if s.redis_bytes is not None]))
    running = [GrowthPoint(x=s.at_s / 60, y=s.lanes) for s in samples]
    found.append(_line("Day: lanes that run", "lanes", "processes", running))
    for name in ("log", "record"):
        points = [GrowthPoint(x=s.at_s / 60, y=getattr(s, f"{name}_bytes") / MB) for s in samples]
        found.append(_line("Day: disk", name, "MB", points))
    return found


def notes(day: Day) -> list[str]:
    """Figures that have no table: bytes, lanes, lateness, an incident."""
    last, first = day.samples[-1], day.samples[0]
    signed = max(day.signed, 1)
    came = set(day.came)
    active = {tier: sum(t.tier is tier and t.name in came for t in day.tenants) for tier in Tier}
    asked = ", ".join(f"{count} {tier}" for tier, count in active.items() if count)
    most_lanes = max(sample.lanes for sample in day.samples)
    log_bytes = (last.log_bytes - first.log_bytes) / signed
    record_bytes = (last.record_bytes - first.record_bytes) / signed
    lag_s = max(sample.seal_lag_s for sample in day.samples)
    log = (
        f"Write-ahead log: {last.log_bytes / MB:,.1f} MB, {log_bytes:,.0f} bytes a signature; record:"
        f" {last.record_bytes / MB:,.1f} MB, {record_bytes:,.0f} bytes a signature; the seal was {lag_s:.1f} s behind at most."
    )
    found = [
        f"{day.signed:,} digests were signed; tenants that asked: {asked}; lanes at once: {most_lanes} at most.",
        log,
    ]
    if day.lane_pss_bytes:
        lanes = len(day.lane_pss_bytes)
        found.append(
            f"A lane takes {sum(day.lane_pss_bytes) / lanes / MB:,.0f} MB (PSS, {lanes} lanes at the end of the peak),"
            f" all lanes together {sum(day.lane_pss_bytes) / MB:,.0f} MB."
        )
    if day.load.late_ms:
        late = ", ".join(f"{late_ms:,.0f} ms {phase}" for phase, late_ms in day.load.late_ms.items())
        found.append(
            f"The load process was late by up to {late}; latency counts from the moment that was due."
        )
    if day.load.failures or day.load.dropped:
        found.append(
            f"Not signed: {day.load.failures}, and not asked for, since too many waited: {day.load.dropped:,}."
        )
    if day.incident is not None and day.incident_s is not None:
        found.append(
            f"At {day.incident_s:.0f} s: {day.incident}. Nothing was answered for"
            f" {longest_silence_s(day.load.progress, day.incident_s):.0f} s at a stretch; the backlog was gone after"
            f" {recovery_s(day.load.progress, day.phases, day.incident_s):.0f} s."
        )
    return found


def headline(day: Day) -> str:
    """One sentence: what was sustained at the mean and at the peak, and the machine's share."""
    parts = []
    for each in day.verdicts()[:2]:
        used = usage(day.samples, each.phase)
        kept = "sustained" if each.sustained and each.share >= SHARE else f"NOT sustained ({each.share:.0%})"
        parts.append(
            f"{each.phase.name} {each.answered_per_s:,.0f} of {each.asked_per_s:,.0f} signatures/s, {kept}, with"
            f" {used.of(*SERVICE) / used.seconds / day.cores:.0%} of {day.cores} cores for the service"
        )
    return "; ".join(parts)


def _memory(name: str, points: Sequence[tuple[float, float]]) -> Growth:
    return _line("Day: memory", name, "MB", [GrowthPoint(x=at_s / 60, y=size / MB) for at_s, size in points])


def _line(plot: str, series: str, y_label: str, points: list[GrowthPoint]) -> Growth:
    return Growth(plot=plot, series=series, x_label="minutes", y_label=y_label, points=points, log_x=False)


def _thinned(items: Sequence[_T]) -> list[_T]:
    step = max(1, len(items) // POINTS)
    return list(items[::step])
