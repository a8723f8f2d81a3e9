"""A time range of a log has every entry of that time, also of a clock that was set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from workers.journal.segment_writer import SegmentWriter
from workers.record import stored_entries, volumes
from workers.record.bundle.writer import export
from workers.record.folder import log_folder
from workers.record.stored_entries import StoredEntries


def log_with(folder: Path, times: Sequence[int]) -> Path:
    """Folder of a log whose jobs have these times; the first entry has the first one."""
    writer = SegmentWriter(folder / "wal")
    for number, at_ms in enumerate(times, 1):
        append(writer, *[msgspec.structs.replace(record, at_ms=at_ms) for record in job("acme", number)])
    seal(folder)
    return log_folder(folder, "acme")


def test_a_clock_that_was_ahead_for_a_moment_ends_no_range_too_early(tmp_path: Path) -> None:
    """Jobs after the step back are older than the end that was asked for, and belong to the range."""
    times = [*range(100, 150), 9000, *range(151, 300)]
    log = log_with(tmp_path, times)
    exported = export(log, tmp_path / "bundle", from_ms=100, to_ms=250)
    last_before = 3 * (times.index(249) + 1)
    assert exported.end > last_before
    assert exported.end == 512


@pytest.mark.parametrize("volume", [6, 9, 12, 65_536])
def test_the_ends_of_a_range_are_the_first_and_the_last_entry_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: int
) -> None:
    """Also where a volume ends, of which only the first entry is looked at."""
    monkeypatch.setattr(volumes, "VOLUME", volume)
    monkeypatch.setattr(stored_entries, "VOLUME", volume)
    times = [10, 20, 30, 25, 26, 40, 50]
    stored = StoredEntries(log_with(tmp_path, times), 3 * len(times) + 1)
    assert stored.first_since(0) == 0
    assert stored.first_since(20) == 4
    assert stored.first_since(28) == 7, "where the clock said so first"
    assert stored.first_since(51) == 22
    assert stored.end_before(10) == 0
    assert stored.end_before(11) == 4
    assert stored.end_before(27) == 16
    assert stored.end_before(51) == 22


@pytest.mark.parametrize("volume", [6, 9, 12, 24, 65_536])
def test_a_clock_that_was_set_back_for_long_takes_no_entry_out_of_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: int
) -> None:
    """Each time of day came twice. The first entries of the volumes behind the step are older than what is looked for."""
    monkeypatch.setattr(volumes, "VOLUME", volume)
    monkeypatch.setattr(stored_entries, "VOLUME", volume)
    times = [*range(10, 42), *range(1, 50)]
    stored = StoredEntries(log_with(tmp_path, times), 3 * len(times) + 1)
    for at_ms in range(11, 42):
        assert stored.first_since(at_ms) == 3 * times.index(at_ms) + 1, at_ms
    assert stored.first_since(45) == 3 * times.index(45) + 1


@pytest.mark.parametrize("volume", [9, 65_536])
def test_a_clock_that_was_set_back_a_moment_ago_ends_no_range_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume: int
) -> None:
    """No volume has begun since."""
    monkeypatch.setattr(volumes, "VOLUME", volume)
    monkeypatch.setattr(stored_entries, "VOLUME", volume)
    times = [*range(10, 43), 5, 6]
    size = 3 * len(times) + 1
    stored = StoredEntries(log_with(tmp_path, times), size)
    assert (stored.end_before(20), stored.end_before(6)) == (size, size - 3)
