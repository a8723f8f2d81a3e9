"""Scenarios that fail, and the headline."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import runner
from bench.report.data import CpuSplit, Row, throughput_row
from bench.scenarios.catalogue import QUICK_ONES, SCENARIOS
from bench.session import FULL, QUICK, Session


def row(scenario: str, kind: str, digests_per_job: int, *, verified: bool) -> Row:
    return throughput_row(
        scenario=scenario,
        algorithm="any",
        key_kind=kind,
        digests_per_job=digests_per_job,
        signatures_per_s=750.0,
        module_ceiling_per_s=1000.0,
        cpu=CpuSplit(),
        verified=verified,
    )


def test_a_scenario_that_fails_is_a_missed_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither passes in silence nor takes the others with it."""

    def fail(_: Session) -> None:
        raise RuntimeError("no token\nTraceback\nthe end")

    monkeypatch.setattr(runner, "SCENARIOS", {"broken": fail})
    session = Session(tmp_path, QUICK)
    runner._run_one(session, "broken")
    (threshold,) = session.found.thresholds
    assert not threshold.ok
    assert threshold.value is None
    assert session.found.notes == ["The scenario broken failed: RuntimeError: no token … the end"]


def test_the_headline_names_the_two_rows_that_a_buyer_asks_for() -> None:
    """Other sizes and simulated devices are no headline."""
    rows = [
        row("simulated HSM", "P256", 256, verified=False),
        row("end to end", "P256", 64, verified=False),
        row("end to end", "P256", 256, verified=False),
        row("verify-after-sign", "RSA_3072", 64, verified=True),
    ]
    assert runner.headline(rows) == (
        "P-256: 750 signatures/s end to end, 75% of what the module does here;"
        " RSA-3072 (verified): 750 signatures/s end to end, 75% of what the module does here"
    )
    assert runner.headline([]) == ""


def test_quick_runs_what_full_runs_first() -> None:
    """Quick has the first scenarios of full; more rows, stop orders and reloads are in full alone."""
    assert tuple(SCENARIOS)[: len(QUICK_ONES)] == QUICK_ONES
    only_full = {
        "first-second",
        "accept",
        "handler",
        "matrix",
        "simulated-grid",
        "workers",
        "reload",
        "stop-orders",
    }
    assert only_full == set(SCENARIOS) - set(QUICK_ONES)
    assert QUICK.rounds < FULL.rounds
    assert QUICK.slow().seconds == 2 * QUICK.seconds
