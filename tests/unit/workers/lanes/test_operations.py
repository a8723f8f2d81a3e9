"""Sums of calls of C_Sign: a lane may report any number that fits its message."""

from __future__ import annotations

from workers.journal.event_records import KeyOperations, LaneEndedRecord, LaneOperationsRecord
from workers.journal.records import decode_record, encode_record
from workers.lanes.operations import MOST_CALLS, OperationCounts

LANE = b"l" * 16


def test_calls_are_summed_by_key_version() -> None:
    counts = OperationCounts()
    counts.add([KeyOperations("release", 1, 2), KeyOperations("release", 2, 5)])
    counts.add([KeyOperations("release", 1, 3)])
    assert counts.take() == (KeyOperations("release", 1, 5), KeyOperations("release", 2, 5))
    assert (counts.take(), counts.total) == ((), 10)


def test_sums_of_a_lane_that_lies_still_fit_a_record() -> None:
    """A number that no record can hold would end the worker, or be a record that no reader reads."""
    counts = OperationCounts()
    for _ in range(3):
        counts.add([KeyOperations(f"key-{number}", 1, MOST_CALLS) for number in range(1025)])
    record = LaneOperationsRecord(1, "acme", LANE, counts.take()[:256])
    ended = LaneEndedRecord(2, "acme", LANE, "hsm-1", "asked", counts.total, 0)
    assert [decode_record(encode_record(each)) for each in (record, ended)] == [record, ended]
