"""The report of a bench run that had the rows that a plan needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.measurement.machine import BusynessReading, describe
from bench.report.data import CpuSplit, make_report, throughput_row
from bench.report.files import write_report
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, KeyKind

SCENARIOS = ("end to end", "verify-after-sign", "simulated HSM, 1 ms in C_Sign, 64 sessions")


def write_costs(folder: Path, kinds: Sequence[KeyKind] = (KeyKind.P256,)) -> Path:
    """``report.json`` in this folder."""
    rows = [
        throughput_row(
            scenario=scenario,
            algorithm=str(DEFAULT_FOR_KEY[kind]),
            key_kind=str(kind),
            digests_per_job=64,
            signatures_per_s=10_000.0,
            module_ceiling_per_s=None,
            cpu=CpuSplit(client=4.0, redis=2.0, worker=3.0, lane=30.0),
        )
        for kind in kinds
        for scenario in SCENARIOS
    ]
    made = make_report(
        mode="quick",
        started_at="2026-11-23T12:00:00+00:00",
        seconds=1.0,
        machine=describe(),
        busyness=BusynessReading(seconds=1.0, own_share=1.0, other_share=0.0, steal_share=0.0),
        thresholds=[],
        headline="",
        rows=rows,
    )
    folder.mkdir(parents=True, exist_ok=True)
    return write_report(made, folder)[0]
