"""One run of the benchmark: its scratch directory, its pace, and what was found so far."""

from __future__ import annotations

import compileall
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import queueing
import workers
from bench.alternation import Course, first_look
from bench.ceiling.measure import QUICK_DRIVES, CeilingSession, drives
from bench.ceiling.probe import Drive, Loop
from bench.hsm.keyring import Keyring
from bench.report.data import Growth, LatencyPoint, Row, Threshold, number, throughput_row
from bench.testbed.config_files import BenchTenant
from bench.testbed.failover import Watched
from bench.testbed.replicas import Replication
from bench.testbed.testbed import BenchTestbed
from queueing.files.folders import entries
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, KeyKind

LOGS: Final = Path("build/bench/logs")
VERIFYING_DRIVES: Final = tuple(
    Drive(loop=Loop.C, threads=threads, processes=processes, verify=True)
    for threads, processes in ((1, 2), (2, 1), (2, 2))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Length of measurements: ``rounds`` alternate, and each takes ``seconds``."""

    name: str
    rounds: int
    seconds: float
    ceiling_seconds: float
    wide: bool  # the whole grid of drives, all sizes, all points

    def slow(self) -> Pace:
        """Pace for RSA, where a second has few envelopes."""
        return Pace(
            name=self.name,
            rounds=self.rounds,
            seconds=2 * self.seconds,
            ceiling_seconds=2 * self.ceiling_seconds,
            wide=self.wide,
        )


QUICK: Final = Pace(name="quick", rounds=4, seconds=1.5, ceiling_seconds=0.5, wide=False)
FULL: Final = Pace(name="full", rounds=5, seconds=3.0, ceiling_seconds=1.0, wide=True)


@dataclass(slots=True, kw_only=True)
class Findings:
    """Findings of a run so far."""

    rows: list[Row] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    latency: list[LatencyPoint] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Session:
    """State that scenarios share. ``directory`` is short: unix sockets are in it."""

    def __init__(self, directory: Path, pace: Pace) -> None:
        self.directory = directory
        self.pace = pace
        self.keyring = Keyring(directory / "tokens")
        self.found = Findings()
        self._best_drives: dict[tuple[KeyKind, bool], list[Drive]] = {}
        self._testbeds = 0
        self._began = time.monotonic()

    @contextlib.contextmanager
    def testbed(
        self,
        tenants: Sequence[BenchTenant],
        *,
        workers: int = 1,
        service: str = "",
        replication: Replication | Watched | None = None,
    ) -> Iterator[BenchTestbed]:
        """A testbed of its own, stopped at the end; its logs are kept. The settings are those of ``BenchTestbed``."""
        self._testbeds += 1
        with BenchTestbed(
            self.directory / f"s{self._testbeds}",
            self.keyring,
            tenants,
            workers=workers,
            service=service,
            replication=replication,
        ) as testbed:
            yield testbed
        shutil.rmtree(testbed.directory / "redis", ignore_errors=True)

    @contextlib.contextmanager
    def ceiling(
        self, kind: KeyKind, *, verify: bool = False, seconds: float | None = None
    ) -> Iterator[CeilingSession]:
        """The ceiling of a kind of key by its best drives, which are looked for once in a run."""
        known = self._best_drives.get((kind, verify))
        with CeilingSession(self.keyring[kind].target(), known or self._grid(verify=verify)) as session:
            if known is None:
                first_look(session, seconds or self.pace.ceiling_seconds)
                self._best_drives[kind, verify] = session.drives
            yield session

    def _grid(self, *, verify: bool) -> Sequence[Drive]:
        if verify:
            return VERIFYING_DRIVES
        return drives() if self.pace.wide else QUICK_DRIVES

    def say(self, text: str) -> None:
        """Tell a person how far it is, on stderr."""
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", file=sys.stderr, flush=True)

    def row(  # noqa: PLR0913 - the columns of a row, each by name
        self,
        scenario: str,
        kind: KeyKind,
        digests_per_job: int,
        course: Course,
        *,
        verified: bool,
        bound: float | None = None,
        note: str = "",
    ) -> Row:
        """Add the row of a course, and say it."""
        row = throughput_row(
            scenario=scenario,
            algorithm=str(DEFAULT_FOR_KEY[kind]),
            key_kind=str(kind),
            digests_per_job=digests_per_job,
            signatures_per_s=course.per_s,
            module_ceiling_per_s=course.ceiling_per_s,
            share=course.share,
            cpu=course.cpu,
            verified=verified,
            rounds=len(course.rounds),
            bound=bound,
            note=note,
        )
        self.found.rows.append(row)
        self.say(in_a_line(row))
        return row

    def threshold(self, threshold: Threshold) -> None:
        """Add a threshold, and say it."""
        self.found.thresholds.append(threshold)
        verdict = "ok" if threshold.ok else "MISSED"
        self.say(
            f"  {verdict}: {threshold.name}: {number(threshold.value)},"
            f" {threshold.sense} {number(threshold.bound)} {threshold.unit}"
        )

    def note(self, text: str) -> None:
        """Something that a reader of the report must know."""
        self.found.notes.append(text)


def in_a_line(row: Row) -> str:
    """A row for a terminal."""
    share = "" if row.share_of_ceiling is None else f" = {row.share_of_ceiling:.0%} of the ceiling"
    cpu = row.cpu_us_per_signature
    return (
        f"{row.scenario} {row.key_kind} x{row.digests_per_job}:"
        f" {number(row.signatures_per_s)}/s{share}; us/signature: client {number(cpu.client)},"
        f" redis {number(cpu.redis)}, worker {number(cpu.worker)}, lane {number(cpu.lane)}"
    )


@contextlib.contextmanager
def open_session(pace: Pace) -> Iterator[Session]:
    """A session in a directory of its own; logs go to ``build/bench/logs``, the rest is removed."""
    compile_packages()
    directory = Path(tempfile.mkdtemp(prefix="sgb-"))
    try:
        yield Session(directory, pace)
    finally:
        _keep_logs(directory)
        shutil.rmtree(directory, ignore_errors=True)


def compile_packages() -> None:
    """Compile what the measured processes import, as an installation does: a checkout is compiled by each of them, where
    ``PYTHONDONTWRITEBYTECODE`` is set.
    """
    for package in (queueing, workers):
        for folder in package.__path__:
            compileall.compile_dir(folder, quiet=2)


def _keep_logs(directory: Path) -> None:
    shutil.rmtree(LOGS, ignore_errors=True)
    for part in entries(directory):
        if (part / "logs").is_dir():
            shutil.copytree(part / "logs", LOGS / part.name, dirs_exist_ok=True)
