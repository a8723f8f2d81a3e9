"""The sides in turn, and the module's ceiling between them: files a second, CPU of each part, and the agent's memory."""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bench.capacity.hsm_rates import HsmRate
from bench.ceiling.measure import CeilingSession
from bench.files.device import CEILING_S, Device
from bench.files.pe_files import write_pe_files
from bench.files.sides import Agent, Side, SignedFiles, SignFile, Workplace, direct
from bench.load.flows import FlowFailed, SigmillFlow, in_envelopes
from bench.measurement.machine import Busyness, BusynessReading
from bench.measurement.procfs import all_processes, tree
from bench.report.data import Threshold, number, share_at_least
from bench.session import QUICK, Session, open_session
from bench.testbed.testbed import BenchTestbed

OUT: Final = Path("build/bench/files.json")
FILE_BYTES: Final = 1 << 20
SIGN_FILE: Final = "sigmill sign-file, all in one run"
LEAST_SHARE: Final = 0.85
"""Of a module that is elsewhere; SoftHSM leaves too little of the cores that also hash."""


class SideRow(msgspec.Struct, frozen=True, kw_only=True):
    """One side: medians over its rounds. ``cpu_ms_per_file`` is of the processes that the side starts.

    ``lane_cpu_ms_per_file`` and ``service_cpu_ms_per_file`` (worker and Redis) are on machines of their own in a farm.
    ``share_by_cpu``: CPU of the bare module's signature, of all CPU for a file: the share that cores which do everything, and
    nothing else, can reach. Other programs do not move it, and it does not see waiting. None for a device that is elsewhere.
    """

    name: str
    files_per_s: float
    share_of_ceiling: float
    share_by_cpu: float | None
    cpu_ms_per_file: float
    agent_cpu_ms_per_file: float | None = None
    lane_cpu_ms_per_file: float
    service_cpu_ms_per_file: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The whole run. ``ceiling_per_s``: signatures of the bare module, each of which takes ``ceiling_cpu_ms``. ``load``: of the machine, before and after.

    ``device``: the network HSM that was simulated; thresholds are for such runs.
    """

    device: HsmRate | None
    files: int
    file_bytes: int
    rounds: int
    ceiling_per_s: float
    ceiling_cpu_ms: float
    agent_peak_bytes: int
    load: tuple[float, float]
    own_share: float
    other_share: float
    rows: list[SideRow]
    thresholds: list[Threshold]

    @property
    def ok(self) -> bool:
        """Whether every threshold is met."""
        return all(threshold.ok for threshold in self.thresholds)


@dataclass(slots=True)
class _Course:
    """Rounds of one side, the ceiling beside each, and the agent's CPU in each."""

    rounds: list[SignedFiles] = field(default_factory=list)
    ceilings_per_s: list[float] = field(default_factory=list)
    agent_cpu_s: list[float] = field(default_factory=list)
    lane_cpu_s: list[float] = field(default_factory=list)
    service_cpu_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surroundings:
    """The run around the sides. ``load``: of the machine, before and after."""

    device: Device
    ceiling_cpu_ms: float
    agent_peak_bytes: int
    load: tuple[float, float]
    busy: BusynessReading


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """Processes and probes that are measured beside each round."""

    agent: Agent
    testbed: BenchTestbed
    ceiling: CeilingSession


def compare(count: int, rounds: int, tell: Callable[[str], None], device: Device | None = None) -> Comparison:
    """Run all sides ``rounds`` times in turn, write ``build/bench/files.json`` and tell the result; raises ``FlowFailed``."""
    device = device or Device()
    if shutil.which("osslsigncode") is None:
        raise FlowFailed("osslsigncode is not installed here: `ops/tools` installs it")
    load_before = os.getloadavg()[0]
    with Busyness() as busy, open_session(QUICK) as session:
        courses, ceiling_cpu_ms, peak_bytes = _run(session, count, rounds, device)
    around = _Surroundings(
        device=device,
        ceiling_cpu_ms=ceiling_cpu_ms,
        agent_peak_bytes=peak_bytes,
        load=(load_before, os.getloadavg()[0]),
        busy=busy.reading,
    )
    found = _comparison(courses, count, rounds, around)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    for line in in_words(found):
        tell(line)
    return found


def _run(session: Session, count: int, rounds: int, device: Device) -> tuple[dict[str, _Course], float, int]:
    """Courses of the sides, CPU of a signature of the bare module, and the agent's peak memory."""
    kept, tenant = device.key(session), device.tenant
    with session.testbed([tenant]) as testbed, device.ceiling(session) as ceiling:
        with SigmillFlow(testbed, tenant.name, in_envelopes(64)):
            pass  # lanes are up, as in a service that runs
        place = Workplace.make(session.directory, kept)
        write_pe_files(place.unsigned, count, FILE_BYTES)
        config = testbed.clients[tenant.name].verifying
        with Agent(testbed.directory, config) as agent:
            sides: list[Side] = [direct(kept, device.name), agent.side(1), agent.side(os.cpu_count() or 1)]
            if _has_sign_file():
                sides.append(SignFile(name=SIGN_FILE, config=config))
            courses = {side.name: _Course() for side in sides}
            watched = _Watched(agent=agent, testbed=testbed, ceiling=ceiling)
            before = ceiling.round(CEILING_S)
            for _ in range(rounds):
                for side in sides:
                    before = _round(session, side, courses[side.name], place, watched, before)
                sides.append(sides.pop(0))
            return courses, _cpu_ms(ceiling), agent.peak_bytes


def _cpu_ms(ceiling: CeilingSession) -> float:
    """CPU of a signature by the drive that is the ceiling."""
    found = ceiling.result()
    best = max(found.probes, key=lambda probe: probe.median_per_s)
    return best.cpu_us_per_signature / 1000


def _round(
    session: Session, side: Side, course: _Course, place: Workplace, watched: _Watched, before: float
) -> float:
    """One round of a side between two of the ceiling; return the second one's rate."""
    agent_before_s, (lanes_before_s, service_before_s) = watched.agent.cpu_s, _cpu_s(watched.testbed)
    measured = side.round(place)
    course.agent_cpu_s.append(watched.agent.cpu_s - agent_before_s)
    lanes_s, service_s = _cpu_s(watched.testbed)
    course.lane_cpu_s.append(lanes_s - lanes_before_s)
    course.service_cpu_s.append(service_s - service_before_s)
    after = watched.ceiling.round(CEILING_S)
    course.rounds.append(measured)
    course.ceilings_per_s.append((before + after) / 2)
    session.say(f"{side.name}: {number(measured.per_s)} files/s; the module {number(after)} signatures/s")
    return after


def _cpu_s(testbed: BenchTestbed) -> tuple[float, float]:
    """CPU of the lanes so far, with those that have ended (that of the service key does when idle), and of worker and Redis."""
    processes, workers = all_processes(), set(testbed.worker_pids)
    lanes = tree(workers, processes) - workers
    lanes_s = sum(processes[pid].cpu_s for pid in lanes) + sum(processes[pid].reaped_s for pid in workers)
    return lanes_s, sum(processes[pid].cpu_s for pid in (*workers, testbed.redis.pid))


def _has_sign_file() -> bool:
    return importlib.util.find_spec("workers.cli.artifacts") is not None


def _comparison(courses: dict[str, _Course], count: int, rounds: int, around: _Surroundings) -> Comparison:
    rows = [_row(name, course, around) for name, course in courses.items()]
    return Comparison(
        device=around.device.rate,
        files=count,
        file_bytes=FILE_BYTES,
        rounds=rounds,
        ceiling_per_s=statistics.median(
            each for course in courses.values() for each in course.ceilings_per_s
        ),
        ceiling_cpu_ms=around.ceiling_cpu_ms,
        agent_peak_bytes=around.agent_peak_bytes,
        load=around.load,
        own_share=around.busy.own_share,
        other_share=around.busy.other_share,
        rows=rows,
        thresholds=[] if around.device.rate is None else [_threshold(rows, around.device)],
    )


def _threshold(rows: Sequence[SideRow], device: Device) -> Threshold:
    share = next((row.share_of_ceiling for row in rows if row.name == SIGN_FILE), None)
    return share_at_least(f"{SIGN_FILE}: share of {device.name}", share, LEAST_SHARE)


def _row(name: str, course: _Course, around: _Surroundings) -> SideRow:
    pairs = list(zip(course.rounds, course.ceilings_per_s, strict=True))
    own_ms, agent_ms, lane_ms, service_ms = (
        _ms_per_file([each.cpu_s for each in course.rounds], course.rounds),
        _ms_per_file(course.agent_cpu_s, course.rounds) if "agent" in name else None,
        _ms_per_file(course.lane_cpu_s, course.rounds),
        _ms_per_file(course.service_cpu_s, course.rounds),
    )
    return SideRow(
        name=name,
        files_per_s=statistics.median(each.per_s for each in course.rounds),
        share_of_ceiling=statistics.median(each.per_s / ceiling for each, ceiling in pairs),
        share_by_cpu=around.ceiling_cpu_ms / (own_ms + (agent_ms or 0.0) + lane_ms + service_ms)
        if around.device.rate is None
        else None,
        cpu_ms_per_file=own_ms,
        agent_cpu_ms_per_file=agent_ms,
        lane_cpu_ms_per_file=lane_ms,
        service_cpu_ms_per_file=service_ms,
    )


def _ms_per_file(cpu_s: Sequence[float], rounds: Sequence[SignedFiles]) -> float:
    return 1000 * sum(cpu_s) / sum(each.files for each in rounds)


def in_words(found: Comparison) -> list[str]:
    """The result as lines for a terminal."""
    size_mib = found.file_bytes / (1 << 20)
    head = f"{found.files:,} PE files of {size_mib:.0f} MiB, RSA-3072, median of {found.rounds} rounds; {Device(found.device).name} alone:"
    load = f"load of the machine: {found.load[0]:.1f} before, {found.load[1]:.1f} after; ours {found.own_share:.0%}"
    return [
        f"{head} {number(found.ceiling_per_s)} signatures/s, CPU {number(found.ceiling_cpu_ms)} ms each",
        *(_in_words(row) for row in found.rows),
        f"the agent's largest memory: {found.agent_peak_bytes / (1 << 20):.0f} MiB",
        f"{load}, others {found.other_share:.0%}",
        *(_threshold_in_words(threshold) for threshold in found.thresholds),
    ]


def _threshold_in_words(threshold: Threshold) -> str:
    verdict = "ok" if threshold.ok else "MISSED"
    value = "not measured" if threshold.value is None else number(threshold.value)
    return (
        f"{verdict}: {threshold.name}: {value}, at least {number(threshold.bound)} {threshold.note}".rstrip()
    )


def _in_words(row: SideRow) -> str:
    agent = row.agent_cpu_ms_per_file
    parts = [f"{number(row.cpu_ms_per_file)} ms a file"]
    parts += [] if agent is None else [f"of the agent {number(agent)} ms"]
    parts += [
        f"lanes {number(row.lane_cpu_ms_per_file)}",
        f"worker and Redis {number(row.service_cpu_ms_per_file)}",
    ]
    by_cpu = "" if row.share_by_cpu is None else f", {row.share_by_cpu:.0%} by CPU"
    return (
        f"{row.name}: {number(row.files_per_s)} files/s = {row.share_of_ceiling:.0%} of the module{by_cpu};"
        f" CPU {', '.join(parts)}"
    )
