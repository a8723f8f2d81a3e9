"""Seeded runs behind the manners of other modules: faults of the HSM break no rule, whatever its manners."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.injections.kinds import KINDS
from tests.faults.run import Plan, run_seed
from tests.support.hsm.manners import SERVED

HSM_FAULTS = tuple(kind for kind in KINDS if kind.startswith("hsm."))


@pytest.mark.slow
@pytest.mark.parametrize("names", SERVED, ids=lambda names: "+".join(names) or "none")
async def test_faults_of_an_hsm_with_manners_break_no_rule(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Each manner with a seed, and so with faults, of its own."""
    plan = Plan(only=HSM_FAULTS, pairs=0.0, manners=names)
    report = await run_seed(2001 + SERVED.index(names), tmp_path / "run", plan)
    assert report.violations == []
