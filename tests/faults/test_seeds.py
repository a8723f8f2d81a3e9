"""Seeded runs of the real stack under faults keep every invariant. ``make faults SEEDS=1-200`` runs many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.history import read_history
from tests.faults.run import Plan, run_seed


@pytest.mark.parametrize("seed", [1001, 1002])
async def test_a_short_run_with_faults_breaks_no_rule(tmp_path: Path, seed: int) -> None:
    """Three steps; its history has seen all five observers."""
    report = await run_seed(seed, tmp_path / "run", Plan(steps=3))
    assert report.violations == []
    seen = {type(event).__name__ for event in read_history(tmp_path / "run" / "history.jsonl")}
    assert {
        "Answered",
        "Claimed",
        "Commit",
        "HsmSign",
        "LogRecord",
        "ExportRead",
        "Exported",
        "Fault",
    } <= seen


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 7])
async def test_a_run_with_faults_breaks_no_rule(tmp_path: Path, seed: int) -> None:
    """As many steps as ``make faults`` has; on one Redis, a cluster, and behind Sentinels."""
    assert (await run_seed(seed, tmp_path / "run")).violations == []
