"""Check of the record: what its sealer's status says becomes findings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.support.fakes.configurations import configuration
from workers.config.settings import RecordSettings
from workers.doctor.findings import Finding
from workers.doctor.record import check_record
from workers.record.exchange import SealerStatus, write_status


def findings(state_dir: Path, status: SealerStatus) -> dict[str, Finding]:
    (state_dir / "record").mkdir(exist_ok=True)
    write_status(state_dir, status)
    service = configuration(state_dir=state_dir).service
    service = dataclasses.replace(service, record=RecordSettings(enabled=True))
    return {finding.check: finding for finding in check_record(service, now_ns=2, now_s=0.0)}


def test_damaged_places_are_named_and_many_are_counted(tmp_path: Path) -> None:
    """With the page that says what to do; a sound record has no such line."""
    places = tuple(f"acme/items/000000.bin: entry {number}" for number in range(5))
    found = findings(tmp_path, SealerStatus(pid=1, started_ns=1, covered_ns=1, damage=places))[
        "record.damage"
    ]
    assert "entry 0, acme/items/000000.bin: entry 1" in found.text
    assert found.text.endswith("and 2 more places")
    assert "record.damage" not in findings(tmp_path, SealerStatus(pid=1, started_ns=1, covered_ns=1))
