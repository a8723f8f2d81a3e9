"""A whole day: tenants, testbed, load and samples, and the report of it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.capacity.planning import DEFAULT_MODEL
from bench.day import account
from bench.day.arrivals import comers
from bench.day.curve import PEAK, PEAK_FACTOR, compressed_day
from bench.day.events import Incident, RedisFailover, Timetable, WorkerKilled, moment_of
from bench.day.machines import side_by_side
from bench.day.messages import LoadPlan, LoadResult, PlannedTenant, decoded, encoded
from bench.day.observation import Observer
from bench.day.results import Day, demands_and_costs
from bench.day.tenants import MINUTES_TOTAL, DayTenant, Tier, in_words, tenants_of
from bench.load.messages import Rest
from bench.load.supervisor import LoadProcess
from bench.measurement.machine import Busyness, describe
from bench.report.data import Report, make_report
from bench.report.data import in_words as report_in_words
from bench.report.files import write_report
from bench.session import QUICK, Session, open_session
from bench.testbed.config_files import BenchTenant, SimTimes
from bench.testbed.failover import Watched

if TYPE_CHECKING:
    from bench.day.curve import Phase
    from bench.testbed.testbed import BenchTestbed

OUT: Final = Path("build/bench/day")
SEED: Final = 20261128
RETENTION_S: Final = 30.0
SHORTEST_RETENTION_S: Final = 5.0
"""Results stay in Redis so long: an hour of them, Sigmill's own choice, would be the memory of a Redis on a machine of its own. In a short
day it is a fifth of a phase, so that results come and go at the same rate where memory is compared."""

MOST_WAITING_S: Final = 30.0
"""Seconds of the peak's rate that may wait before clients ask for no more: then there is nothing left to learn."""

SAMPLE_S: Final = 1.0
WARM_S: Final = 120.0
"""For the clients that stay: connection, lanes, first signatures."""

DRAIN_S: Final = 300.0
_DETAILS: Final = (
    "The rates are the real ones, the time is shorter: a third of it at the mean, a third at the peak, a third at the mean.",
    """Verify-after-sign is on. A device signs each of a tenant's 16 or 64 digests once, by SoftHSM, and answers repeats from
    memory after its time; so it costs these cores nothing, as an HSM of one's own. Clients of enterprises do not verify again
    (build hosts do, elsewhere); those of products do.""",
    """Left out: tenants without a build in this time have no token and no lane. They are configured, published, and in each
    lane's configuration. Lanes of the others start with their builds, and end after lane_idle_s (300 s) without one.""",
    f"Results stay in Redis for {RETENTION_S:.0f} s at most instead of an hour; Redis writes nothing to disk.",
    "CPU of the benchmark itself counts with the others'.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOptions:
    """The day that is asked for."""

    minutes: float = 60.0
    tenants: int = 1000
    per_day: float = MINUTES_TOTAL
    model: str = DEFAULT_MODEL
    kill_worker: bool = False
    redis_failover: bool = False

    @property
    def incident(self) -> Incident | None:
        """The incident at the peak."""
        if self.kill_worker:
            return WorkerKilled()
        return RedisFailover() if self.redis_failover else None


def run(options: DayOptions, tell: Callable[[str], None]) -> Report:
    """Run a day, write its report and tell the verdict, line by line."""
    began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    tenants = tenants_of(options.tenants, options.per_day, model=options.model, peak_factor=PEAK_FACTOR)
    with Busyness() as busy, open_session(QUICK) as session:
        day = watch(session, options, tenants)
    demands, costs = demands_and_costs(day, MINUTES_TOTAL, PEAK_FACTOR)
    report = make_report(
        mode="day",
        started_at=started_at,
        seconds=time.monotonic() - began,
        machine=describe(),
        busyness=busy.reading,
        thresholds=account.thresholds(day),
        headline=account.headline(day),
        rows=account.rows(day),
        latency=account.latencies(day),
        growth=account.growth(day),
        notes=[*in_words(tenants), *account.notes(day), *(" ".join(text.split()) for text in _DETAILS)],
        plan=side_by_side(demands, costs),
    )
    as_json, as_html = write_report(report, OUT)
    for line in _lines(report, account.headline(day)):
        tell(line)
    tell(f"{report.seconds:.0f} s; written: {as_json}, {as_html}")
    return report


def watch(session: Session, options: DayOptions, tenants: list[DayTenant]) -> Day:
    """Run a day on a testbed of its own and watch it; raises ``LoadFailed``, ``WorkerFailed``, ``IncidentFailed`` or ``TimeoutError``."""
    phases = compressed_day(60 * options.minutes, PEAK_FACTOR)
    coming = comers(tenants, phases, SEED) | {t.name for t in tenants if t.tier is Tier.ENTERPRISE}
    session.say(f"{len(tenants)} tenants, of which {len(coming)} sign; their tokens are made")
    incident = options.incident
    timetable = Timetable(incident, moment_of(phases))
    with contextlib.ExitStack() as stack:
        testbed = stack.enter_context(
            session.testbed(
                [_bench_tenant(tenant, absent=tenant.name not in coming) for tenant in tenants],
                workers=2 if options.kill_worker else 1,
                service=_service(phases),
                replication=Watched() if options.redis_failover else None,
            )
        )
        load, result = _load(stack, testbed, [t for t in tenants if t.name in coming], phases)
        observer = Observer(testbed, load, {tenant.name: tenant.kind for tenant in tenants})
        session.say("clients that stay connect, and their lanes start")
        load.order(Rest())
        load.answer(WARM_S)
        load.order(Rest())
        observer.start()
        _observe(session, observer, testbed, load, timetable, phases)
        load.answer(1.0)
        found = decoded(result.read_bytes(), LoadResult)
    return Day(
        phases=phases,
        tenants=tenants,
        came=sorted(coming),
        load=found,
        samples=observer.samples,
        lane_pss_bytes=observer.lane_pss_bytes,
        cores=len(os.sched_getaffinity(0)),
        incident=None if incident is None else incident.name,
        incident_s=timetable.began_s,
    )


def _service(phases: list[Phase]) -> str:
    """Tables of the workers' files: the record, and a short retention of results."""
    retention_s = min(RETENTION_S, max(SHORTEST_RETENTION_S, phases[0].seconds / 5))
    return f"[record]\nenabled = true\n\n[worker]\nresult_retention_s = {retention_s}\n"


def _observe(
    session: Session,
    observer: Observer,
    testbed: BenchTestbed,
    load: LoadProcess,
    timetable: Timetable,
    phases: list[Phase],
) -> None:
    """Take samples until the load has all answers; raises ``TimeoutError`` where they do not come, and ``IncidentFailed``."""
    (peak,) = (phase for phase in phases if phase.name == PEAK)
    told_s = 0.0
    while not load.answered(SAMPLE_S):
        sample = observer.sample()
        timetable.look(observer.elapsed_s(), testbed)
        if not observer.lane_pss_bytes and sample.at_s > peak.ends_s - 2 * SAMPLE_S:
            observer.weigh_lanes()
        if sample.at_s >= told_s:
            told_s = sample.at_s + 30
            session.say(f"{sample.at_s:.0f} s, {sample.lanes} lanes")
        if sample.at_s > phases[-1].ends_s + DRAIN_S:
            raise TimeoutError("the load process has not got all its answers")
    observer.sample(last=True)


def _load(
    stack: contextlib.ExitStack, testbed: BenchTestbed, tenants: list[DayTenant], phases: list[Phase]
) -> tuple[LoadProcess, Path]:
    """The load process, and the file of its result."""
    peak_per_s = sum(t.builds_per_s * t.digests_per_build for t in tenants) * PEAK_FACTOR
    planned = [_planned(tenant, testbed) for tenant in tenants]
    plan = LoadPlan(
        phases=phases,
        seed=SEED,
        tenants=planned,
        most_waiting=max(10_000, round(MOST_WAITING_S * peak_per_s)),
    )
    file, result = testbed.directory / "plan.json", testbed.directory / "result.json"
    file.write_bytes(encoded(plan))
    command = ["-m", "bench.day.load", "--plan", str(file), "--result", str(result)]
    return stack.enter_context(LoadProcess(command, testbed.directory / "logs" / "load.log")), result


def _planned(tenant: DayTenant, testbed: BenchTestbed) -> PlannedTenant:
    files = testbed.clients[tenant.name]
    stays = tenant.tier is Tier.ENTERPRISE
    return PlannedTenant(tenant=tenant, client=str(files.trusting if stays else files.verifying), stays=stays)


def _bench_tenant(tenant: DayTenant, *, absent: bool) -> BenchTenant:
    """A token with one lane, as docs/capacity.md has it for devices that take milliseconds."""
    return BenchTenant(
        name=tenant.name,
        kind=tenant.kind,
        sessions=tenant.sessions,
        lanes=1,
        simulated=SimTimes(sign_us=tenant.sign_us, repeats=True),
        absent=absent,
    )


def _lines(report: Report, headline: str) -> list[str]:
    """The report for a terminal: the verdict, latency, machines, notes. A headline of a busy machine is said to be one."""
    lines = report_in_words(report)
    if report.headline_refused is not None:
        lines.append(f"On this busy machine: {headline}")
    lines += [f"{row.scenario}: {row.note}" for row in report.rows]
    lines += [
        f"{point.scenario}, {point.algorithm}, {point.load_share:.0%}: {point.latency.count:,} requests,"
        f" p50 {point.latency.p50_ms:,.1f} ms, p99 {point.latency.p99_ms:,.1f} ms, max {point.latency.max_ms:,.1f} ms"
        for point in report.latency
    ]
    return lines + report.plan + report.notes
