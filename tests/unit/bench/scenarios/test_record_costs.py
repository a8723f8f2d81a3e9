"""The log whose costs are measured is like one of a host: what is measured of it must not be less."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.scenarios import record_costs
from queueing.transparency.proof_files import read_proof_file
from workers.record.folder import log_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small log and its bundle."""
    monkeypatch.setattr(record_costs, "JOBS", 2)
    epoch_key, client = record_costs.make_log(tmp_path)
    record_costs.export_costs(tmp_path)
    found = record_costs.verify_costs(tmp_path, epoch_key.private_bytes_raw(), client.public_spki)
    assert found.signatures == 2 * record_costs.SIZE
    return tmp_path


def test_the_receipt_that_is_measured_has_the_statement_of_a_service_key(folder: Path) -> None:
    """A client trusts the service key alone: a receipt without the statement is 400 bytes shorter, and proves nothing to it."""
    (statement,) = (log_folder(folder, record_costs.TENANT) / "statements").iterdir()
    proof = read_proof_file(record_costs.receipt_of_last(folder))
    assert b"build-host-1.example.com" in statement.read_bytes()
    assert b"build-host-1.example.com" in proof.extra
