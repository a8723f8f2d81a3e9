"""Newest checkpoint of a log, as an export begins with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ProofInvalid
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.writer import newest_checkpoint
from workers.record.folder import log_folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Folder of a sealed log."""
    append(SegmentWriter(tmp_path / "wal"), *job("acme", 1))
    seal(tmp_path)
    return log_folder(tmp_path, "acme")


def test_it_is_that_of_the_log(log: Path) -> None:
    found = newest_checkpoint(log)
    assert found is not None
    assert found.size > 0


@pytest.mark.parametrize("data", [b"", bytes(300)], ids=["empty", "zeros"])
def test_one_that_a_power_cut_has_taken_is_none(log: Path, data: bytes) -> None:
    """The sealer signs another one within a second or two."""
    (log / "checkpoint").write_bytes(data)
    assert newest_checkpoint(log) is None


def test_one_that_cannot_be_read_is_an_error(log: Path) -> None:
    (log / "checkpoint").write_bytes(b"no note")
    with pytest.raises(ProofInvalid):
        newest_checkpoint(log)


def test_a_log_without_one_has_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "acme") is None
