"""A log that begins behind a gap is told of it, as records of its tenant may be among those that are lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from queueing.transparency.entries import OpenedEntry, decode_entry
from queueing.transparency.event_entries import GapEntry
from tests.support.farm.logged_jobs import append, intent, job
from tests.support.farm.sealed_logs import run_to_end, sealer
from tests.unit.workers.record.test_gaps import ORIGIN, frame_ends
from tests.unit.workers.record.test_sealer import content, entries
from workers.journal.event_records import ConfigurationRecord
from workers.journal.records import UnknownRecord
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import segments_of
from workers.record.follower import Gap
from workers.record.gaps import told as module
from workers.record.replacement import give_up
from workers.record.sequencer import Sequencer


def beginning(state_dir: Path, tenant: str) -> list[GapEntry]:
    """Gaps that are told directly behind the opening of a log."""
    opened, *rest = [decode_entry(entry) for entry in entries(state_dir, tenant)]
    assert isinstance(opened, OpenedEntry)
    found = []
    for entry in rest:
        if not isinstance(entry, GapEntry):
            break
        found.append(entry)
    return found


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Three segments, of one process each."""
    state = tmp_path / "state"
    for number in range(1, 4):
        append(SegmentWriter(state / "wal"), *job("acme", number), *job("globex", 10 + number))
    (state / "record").mkdir()
    (state / "record" / "origin").write_text("ab" * 64 + " 1.0\n")
    return state


def test_a_log_that_begins_behind_segments_that_are_lost_says_so(state_dir: Path) -> None:
    segments_of(state_dir / "wal")[0].unlink()
    run_to_end(sealer(state_dir))
    for tenant, at_ms in (("acme", 2), ("globex", 12)):
        gap = GapEntry(at_ms=at_ms, segment=2, first=0, end=0, reason="missing", more=False)
        assert beginning(state_dir, tenant) == [gap]


def test_a_log_that_begins_with_the_first_segment_is_behind_nothing(state_dir: Path) -> None:
    run_to_end(sealer(state_dir))
    assert beginning(state_dir, "acme") == beginning(state_dir, "globex") == []


def test_damage_before_the_first_readable_record_is_told_with_its_place(state_dir: Path) -> None:
    """To the tenant whose first record it was, and to the others: it cannot be told whose it was."""
    first = segments_of(state_dir / "wal")[0]
    ends, data = frame_ends(first), bytearray(first.read_bytes())
    data[ends[0] + 20] ^= 1
    first.write_bytes(data)
    run_to_end(sealer(state_dir))
    for tenant in ("acme", "globex"):
        (gap,) = beginning(state_dir, tenant)
        assert (gap.segment, gap.first, gap.end, gap.reason) == (1, ends[0], ends[1], "damaged")


def test_a_record_that_is_begun_anew_behind_removed_segments_says_so(state_dir: Path) -> None:
    """Its logs follow the former ones, and have nothing of the segments that are gone."""
    first = sealer(state_dir)
    run_to_end(first)
    first.keep()
    segments_of(state_dir / "wal")[0].unlink()
    give_up(state_dir)
    run_to_end(sealer(state_dir))
    opened = decode_entry(entries(state_dir, "acme")[0])
    assert isinstance(opened, OpenedEntry)
    assert opened.follows
    assert [gap.reason for gap in beginning(state_dir, "acme")] == ["missing"]


def test_a_lost_segment_that_the_next_one_names_is_told_in_every_log(tmp_path: Path) -> None:
    """One process wrote them; segment 2 is lost before the sealer comes to it."""
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(1, 4):
        append(writer, *job("acme", number))
        writer.abandon()
    first, second, third = segments_of(tmp_path / "wal")
    away = third.rename(tmp_path / "third")
    run_to_end(sealer(tmp_path))
    away.rename(third)
    second.unlink()
    run_to_end(sealer(tmp_path))
    gaps = [entry for each in entries(tmp_path, "acme") if isinstance(entry := decode_entry(each), GapEntry)]
    assert gaps == [GapEntry(at_ms=1, segment=3, first=0, end=0, reason="missing", more=False)]
    assert first.exists()


def test_a_number_that_no_segment_ever_had_is_no_gap(tmp_path: Path) -> None:
    """The writer removes a segment in which nothing was acknowledged."""
    writer = SegmentWriter(tmp_path / "wal")
    append(writer, *job("acme", 1))
    writer.abandon()
    writer._begin()
    writer.abandon()
    append(writer, *job("acme", 2))
    assert [file.stem[-1] for file in segments_of(tmp_path / "wal")] == ["1", "3"]
    run_to_end(sealer(tmp_path))
    assert not any(isinstance(decode_entry(each), GapEntry) for each in entries(tmp_path, "acme"))


@pytest.mark.parametrize("kept", [False, True])
def test_a_restart_between_the_gap_and_the_beginning_changes_no_byte(
    state_dir: Path, tmp_path: Path, kept: bool
) -> None:
    segments_of(state_dir / "wal")[0].unlink()
    later = segments_of(state_dir / "wal")[1]
    whole = tmp_path / "whole"
    shutil.copytree(state_dir, whole)
    run_to_end(sealer(whole))
    away = later.rename(tmp_path / "later")
    first = sealer(state_dir)
    run_to_end(first)
    if kept:
        first.keep()
    away.rename(later)
    run_to_end(sealer(state_dir))
    assert content(state_dir) == content(whole)


@pytest.mark.parametrize(
    "record",
    [
        intent("acme", 5),
        ConfigurationRecord(5, "acme", 1, bytes(32)),
        UnknownRecord(5, "acme", b"job1", b"w:1"),
    ],
)
def test_whatever_begins_a_log_the_gaps_before_it_come_first(record: msgspec.Struct) -> None:
    """Also behind a restart; a former sealer, which has no such field, reads the same snapshot."""
    sequencer = Sequencer(ORIGIN)
    assert sequencer.add(Gap(3, 10, 20, 7)) == []
    restored = Sequencer.restored(ORIGIN, sequencer.snapshot())
    opened, gap, *rest = restored.add(record)  # type: ignore[arg-type]
    assert opened.entry.kind == "opened"
    assert gap.entry == GapEntry(at_ms=5, segment=3, first=10, end=20, reason="damaged", more=False)
    assert restored.sizes == {"acme": 2 + len(rest)}
    assert len(rest) == 1


def test_a_log_that_begins_later_is_told_of_the_newest_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GAPS", 2)
    sequencer = Sequencer(ORIGIN)
    for segment in range(1, 5):
        sequencer.add(Gap(segment, 0, 1, 7))
    _, *gaps, _ = sequencer.add(intent("acme", 9))
    assert [gap.entry.segment for gap in gaps if isinstance(gap.entry, GapEntry)] == [3, 4]
