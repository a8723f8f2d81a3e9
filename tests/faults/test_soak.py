"""The soak ends by itself, judges its rounds, and measures all that it has a bound for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.soak import BOUNDS, soak


@pytest.mark.slow
async def test_a_short_soak_breaks_no_rule_and_measures_everything(tmp_path: Path) -> None:
    """One round; whether something grows takes longer."""
    soaked = await soak(0.1, tmp_path / "soak")
    assert soaked.rounds >= 1
    assert soaked.violations == []
    assert [flat.name for flat in soaked.flatness] == [bound.name for bound in BOUNDS]
    samples = json.loads((tmp_path / "soak" / "samples.json").read_bytes())
    assert samples.keys() >= {bound.name for bound in BOUNDS}
    assert all(flat.samples for flat in soaked.flatness)
