"""Summary of many seeds: injections, operations and the slowest recovery of each kind of fault."""

from __future__ import annotations

import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from tests.faults.injections.kinds import KINDS
from tests.faults.run import Report


class KindSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of fault: how often it was injected, and how long after its heal the last job that was open then had
    ended; recoveries of faults that came alone."""

    kind: str
    injections: int
    promised_s: float
    median_s: float | None
    worst_s: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All seeds. ``operations``: events that the checker went through, by kind."""

    seeds: int
    failed: dict[int, list[str]]
    broken: list[int]
    seconds: float
    injections: int
    operations: dict[str, int]
    kinds: list[KindSummary]
    mended_tokens: int


def say(line: str) -> None:
    """To whoever started the runs, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def summary_of(reports: Sequence[Report], broken: Sequence[int], *, seconds: float) -> Summary:
    """The sums."""
    injections: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    recoveries: defaultdict[str, list[float]] = defaultdict(list)
    for report in reports:
        injections.update(report.injections)
        operations.update(report.operations)
        for kind, values in report.recoveries.items():
            recoveries[kind] += values
    return Summary(
        seeds=len(reports),
        failed={report.seed: report.violations for report in reports if report.violations},
        broken=sorted(broken),
        seconds=round(seconds),
        injections=injections.total(),
        operations=dict(operations),
        kinds=[
            KindSummary(
                kind=kind,
                injections=injections[kind],
                promised_s=KINDS[kind].promised_s,
                median_s=round(statistics.median(recoveries[kind]), 2) if recoveries[kind] else None,
                worst_s=max(recoveries[kind], default=None),
            )
            for kind in sorted(KINDS)
        ],
        mended_tokens=sum(report.mended_tokens for report in reports),
    )


def print_report(report: Report) -> None:
    """One seed, for a person."""
    total = sum(report.operations.values())
    say(f"seed {report.seed}: {report.seconds} s, {total} events, {report.digests} HSM operations")
    for line in report.schedule:
        say(f"    {line}")
    for violation in report.violations[:20]:
        say(f"    VIOLATION {violation}")


def print_summary(summary: Summary) -> None:
    """The table of kinds, and the sums."""
    say(f"{'fault':26} {'times':>6} {'promised s':>11} {'median s':>9} {'worst s':>8}")
    for kind in summary.kinds:
        median, worst = ("-" if value is None else f"{value:.2f}" for value in (kind.median_s, kind.worst_s))
        say(f"{kind.kind:26} {kind.injections:6} {kind.promised_s:11.1f} {median:>9} {worst:>8}")
    operations = ", ".join(f"{count} {name}" for name, count in sorted(summary.operations.items()))
    say(f"{summary.seeds} seeds in {summary.seconds:.0f} s: {summary.injections} injections; {operations}")
    for seed, violations in summary.failed.items():
        say(f"seed {seed} FAILED: {violations[0]}")
    for seed in summary.broken:
        say(f"seed {seed} BROKE: no verdict")
