"""The checker is worth something: it finds scripts that are wrong on purpose, each by the rule that it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.harness.broken_scripts import BROKEN
from tests.faults.run import Plan, run_seed


@dataclass(frozen=True, slots=True)
class Case:
    """A broken script, and the fault under which it shows itself, so many times."""

    script: str
    kind: str
    times: int = 1
    lease_s: float = 2.0
    sign_us: int = 1_000
    patience_s: float = 45.0


QUICK = (Case("commit-leaves-the-job", "worker.reload"),)
SLOW = (
    Case("commit-without-fence", "worker.zombie", times=3, sign_us=60_000),
    Case("claim-of-leased-jobs", "worker.reload"),
    Case("release-keeps-the-lease", "worker.term", times=2, lease_s=30.0, sign_us=5_000),
    Case("claim-takes-the-job-out", "worker.kill", sign_us=30_000, patience_s=10.0),
    Case("commit-forgets-the-result", "worker.reload"),
)


def test_every_broken_script_has_its_case() -> None:
    """None is forgotten."""
    assert sorted(case.script for case in QUICK + SLOW) == sorted(BROKEN)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "case",
    [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)],
    ids=lambda case: str(case.script),
)
async def test_the_checker_finds_a_broken_script(tmp_path: Path, case: Case) -> None:
    """Under one kind of fault, and within a few runs: it must meet a job at the right moment."""
    plan = Plan(
        steps=case.times, only=(case.kind,), pairs=0, broken=case.script,
        lease_s=case.lease_s, sign_us=case.sign_us, patience_s=case.patience_s,
    )  # fmt: skip
    found: set[str] = set()
    for seed in range(1, 4):
        report = await run_seed(seed, tmp_path / f"run-{seed}", plan)
        found |= {violation.split(":")[0] for violation in report.violations}
        if found & BROKEN[case.script].found_as:
            return
    pytest.fail(f"it was not found; only {sorted(found)}")
