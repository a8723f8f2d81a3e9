"""Calls of C_Sign that lanes report: a lane's end against its entries, with what is wrong, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ProofInvalid
from queueing.transparency.event_entries import LaneEndedEntry, LaneOperationsEntry, LaneStartedEntry
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.logged_events import events_of
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from workers.journal.event_records import KeyOperations, LaneEndedRecord, LaneOperationsRecord
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle import lane_sums
from workers.record.bundle.findings import Problem
from workers.record.bundle.lane_sums import LaneEntry, LaneSums
from workers.record.bundle.reader import origins_of
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import export
from workers.record.folder import log_folder

LANE, OTHER = b"l" * 16, b"o" * 16


def started(lane: bytes = LANE) -> LaneEntry:
    return LaneStartedEntry(
        at_ms=1, lane=lane, token="hsm", serial="", model="", module="", sessions=1, build="1"
    )


def operations(calls: int, lane: bytes = LANE, *, version: int = 1) -> LaneEntry:
    return LaneOperationsEntry(at_ms=2, lane=lane, operations=(("release", version, calls),))


def ended(calls: int, lane: bytes = LANE, *, in_doubt: int = 0) -> LaneEntry:
    return LaneEndedEntry(at_ms=3, lane=lane, token="hsm", reason="asked", calls=calls, in_doubt=in_doubt)


def sums(*entries: LaneEntry) -> LaneSums:
    made = LaneSums()
    for index, entry in enumerate(entries, 10):
        made.add(index, entry)
    return made


def test_the_calls_of_a_lane_are_those_in_its_entries() -> None:
    """By key version over all lanes; a lane that still runs, and what was not answered, is told."""
    made = sums(
        started(),
        started(OTHER),
        operations(3),
        operations(4, OTHER),
        operations(5, version=2),
        ended(8, in_doubt=2),
    )
    assert made.calls == {("release", 1): 7, ("release", 2): 5}
    assert (made.running, made.in_doubt) == (1, 2)


@pytest.mark.parametrize(
    "entries, what",
    [
        (
            (started(), operations(3), ended(4)),
            r"has made 4 calls of C_Sign by its end, and the entries before have 3",
        ),
        ((started(), operations(3), ended(2)), r"has made 2 calls"),
        ((started(), ended(1)), r"have 0"),
        ((started(), ended(0), operations(1)), r"has ended at entry 11"),
        ((started(), ended(0), ended(0)), r"has ended at entry 11"),
        ((started(), ended(0), started()), r"has ended at entry 11"),
        ((started(), started()), r"lane 6c6c6c6c… starts a second time"),
    ],
)
def test_entries_that_do_not_fit_together_are_told(entries: tuple[LaneEntry, ...], what: str) -> None:
    with pytest.raises(ProofInvalid, match=what):
        sums(*entries)


def test_a_lane_that_started_before_the_range_is_not_held_against_its_end() -> None:
    """What it made before is not here."""
    made = sums(operations(3), ended(100))
    assert (made.calls, made.running) == ({("release", 1): 3}, 0)


def test_more_lanes_than_can_be_remembered_cost_their_check_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whatever a bundle says."""
    monkeypatch.setattr(lane_sums, "MOST_LANES", 1)
    made = sums(started(), started(OTHER), operations(4, OTHER), ended(5, OTHER), ended(0))
    assert made.calls == {("release", 1): 4}


def test_a_record_that_a_lane_lost_is_a_problem_at_the_entry_of_its_end(tmp_path: Path) -> None:
    """Of a record that was taken out of the write-ahead log before it was sealed."""
    records = events_of("acme")
    writer = SegmentWriter(tmp_path / "wal")
    lost = LaneOperationsRecord(3, "acme", bytes(range(16)), (KeyOperations("release", 1, 6),))
    end = records["lane-ended"]
    assert isinstance(end, LaneEndedRecord)
    append(writer, *job("acme", 1), records["lane-started"], lost, end)
    seal(tmp_path)
    export(log_folder(tmp_path, "acme"), tmp_path / "bundle")
    (origin,) = origins_of(tmp_path / "bundle")
    key = Ed25519NoteKey(f"sigmill/prod/acme/{origin.name}", EPOCH_KEY).verifier
    problems = [*OriginVerifier(origin, trusted=[key]).run()]
    what = "lane 00010203… has made 7 calls of C_Sign by its end, and the entries before have 6"
    assert problems == [Problem("entry.invalid", f"{origin.name}/6", what)]


def test_more_key_versions_than_a_tenant_has_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry names 256 of them, and a bundle has entries without end: its numbers must not fill the memory."""
    monkeypatch.setattr(lane_sums, "MOST_KEYS", 2)
    made = sums(*[operations(3, version=version) for version in range(10)], operations(5, version=1))
    assert made.calls == {("release", 0): 3, ("release", 1): 8, ("", 0): 24}
    for version in range(10):
        made.add_signed("release", version, 1)
    assert made.signed == {("release", 0): 1, ("release", 1): 1, ("", 0): 8}
