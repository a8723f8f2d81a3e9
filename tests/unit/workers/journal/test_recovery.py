"""Recovery after a crash: intents to close as unknown, outcomes to publish again."""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.journal.records import (
    CanaryIntentRecord,
    CanaryOutcomeRecord,
    IntentRecord,
    OpenedRecord,
    OutcomeRecord,
    Record,
    ReleasedRecord,
    ReturnedRecord,
    UnknownRecord,
    encode_record,
)
from workers.journal.recovery import Recovered, recover
from workers.journal.segments import frame, segment_path

NOW_S = 2_000_000.0


def intent(job: bytes, lease: bytes = b"w:1") -> IntentRecord:
    return IntentRecord(1, "acme", job, lease, 1, b"sealed")


def outcome(job: bytes, lease: bytes = b"w:1", result: bytes = b"result") -> OutcomeRecord:
    return OutcomeRecord(2, "acme", job, lease, "", result)


def released(job: bytes, lease: bytes = b"w:1") -> ReleasedRecord:
    return ReleasedRecord(3, "acme", job, lease, "committed")


def returned(job: bytes, lease: bytes = b"w:1") -> ReturnedRecord:
    return ReturnedRecord(3, "acme", job, lease, maybe_signed=False)


def unknown(job: bytes, lease: bytes = b"w:1") -> UnknownRecord:
    return UnknownRecord(int(NOW_S * 1000), "acme", job, lease)


def write(folder: Path, *records: Record, number: int = 1, tail: bytes = b"") -> Path:
    file = segment_path(folder, number)
    file.write_bytes(b"".join(frame(encode_record(record)) for record in records) + tail)
    return file


def found(folder: Path) -> Recovered:
    return recover(folder, now_s=NOW_S)


def left(folder: Path) -> tuple[list[OutcomeRecord], list[UnknownRecord | CanaryOutcomeRecord]]:
    what = found(folder)
    return what.unreleased, what.unknown


def test_an_intent_without_an_outcome_is_unknown(tmp_path: Path) -> None:
    """It may have been signed; nobody has seen it."""
    write(tmp_path, intent(b"a"), intent(b"b"), outcome(b"b"), released(b"b"))
    assert left(tmp_path) == ([], [unknown(b"a")])


def test_an_outcome_without_a_release_is_published_again(tmp_path: Path) -> None:
    """It was durable, so it is not signed a second time."""
    write(tmp_path, intent(b"a"), outcome(b"a"))
    assert left(tmp_path) == ([outcome(b"a")], [])


def test_what_came_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    """Released, returned, or closed by the start before this one."""
    write(
        tmp_path,
        *(intent(b"a"), outcome(b"a"), released(b"a")),
        *(intent(b"b"), returned(b"b")),
        *(intent(b"c"), unknown(b"c")),
    )
    assert left(tmp_path) == ([], [])


def test_claims_of_one_job_are_apart(tmp_path: Path) -> None:
    """A returned claim does not end the next one."""
    write(tmp_path, intent(b"a", b"w:1"), returned(b"a", b"w:1"), intent(b"a", b"w:2"))
    assert found(tmp_path).unknown == [unknown(b"a", b"w:2")]


def test_an_outcome_closes_its_intent_in_a_later_segment(tmp_path: Path) -> None:
    """Segments are one log."""
    write(tmp_path, intent(b"a"), number=1)
    write(tmp_path, outcome(b"a"), number=2)
    assert left(tmp_path) == ([outcome(b"a")], [])


def test_a_torn_tail_costs_what_was_torn_and_no_later_segment(tmp_path: Path) -> None:
    """The process went on in a new segment after a failed write."""
    torn = frame(encode_record(outcome(b"a")))[:-3]
    write(tmp_path, intent(b"a"), number=1, tail=torn)
    write(tmp_path, intent(b"b"), number=2)
    assert found(tmp_path).unknown == [unknown(b"a"), unknown(b"b")]


def test_records_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    """A downgrade still closes what it knows."""
    write(
        tmp_path,
        intent(b"a"),
        tail=frame(b"\x92\xa6Future\x01") + frame(encode_record(outcome(b"a"))),
    )
    assert found(tmp_path).unreleased == [outcome(b"a")]


def opened(first_open: int) -> OpenedRecord:
    return OpenedRecord(1, first_open)


def test_reading_begins_where_the_newest_segment_says(tmp_path: Path) -> None:
    """Earlier records are all closed; two years of log are not read at a start."""
    write(tmp_path, intent(b"closed in a way that nobody reads"), number=1)
    write(tmp_path, opened(1), intent(b"a"), number=2)
    write(tmp_path, opened(2), intent(b"b"), number=3)
    assert found(tmp_path).unknown == [unknown(b"a"), unknown(b"b")]


def test_however_long_ago_what_is_open_is_found(tmp_path: Path) -> None:
    """A host that was away for a week has its jobs in the queue still."""
    file = write(tmp_path, opened(1), intent(b"a"), outcome(b"a"), number=1)
    os.utime(file, (1, 1))
    assert found(tmp_path).unreleased == [outcome(b"a")]


def test_a_newest_segment_without_a_head_leaves_it_to_the_one_before(tmp_path: Path) -> None:
    """It was torn in its first record."""
    write(tmp_path, intent(b"of old"), number=1)
    write(tmp_path, opened(2), intent(b"a"), number=2)
    write(tmp_path, number=3, tail=frame(encode_record(opened(3)))[:-1])
    assert found(tmp_path).unknown == [unknown(b"a")]


def test_it_says_since_which_segment_each_claim_is_open(tmp_path: Path) -> None:
    """So that the next process neither forgets nor removes it."""
    write(tmp_path, opened(1), intent(b"done"), released(b"done"), number=1)
    write(tmp_path, opened(2), intent(b"a"), number=2)
    write(tmp_path, opened(2), outcome(b"a"), intent(b"b"), number=3)
    claims = found(tmp_path).open_claims
    assert (len(claims), claims.first(4)) == (2, 2)


def test_a_second_crash_finds_what_the_first_start_had_not_finished(tmp_path: Path) -> None:
    """It wrote the outcome again and closed the intent; then it died, too."""
    write(tmp_path, opened(1), intent(b"a"), outcome(b"a"), intent(b"b"), number=1)
    write(tmp_path, opened(1), unknown(b"b"), outcome(b"a"), number=2)
    assert left(tmp_path) == ([outcome(b"a")], [])


def test_the_first_start_finds_nothing(tmp_path: Path) -> None:
    """There is no folder yet."""
    assert left(tmp_path / "wal") == ([], [])


def canary(job: bytes) -> CanaryIntentRecord:
    return CanaryIntentRecord(
        1, "acme", job, b"", "acme", "release", 1, b"f" * 32, "ECDSA_SHA_256", b"d" * 32
    )


def test_a_canary_without_an_outcome_is_unknown(tmp_path: Path) -> None:
    """And one with an outcome is nobody's to publish."""
    write(
        tmp_path,
        canary(b"canary:a"),
        canary(b"canary:b"),
        CanaryOutcomeRecord(2, "acme", b"canary:b", b"", "ok", b"s"),
    )
    closed = CanaryOutcomeRecord(int(NOW_S * 1000), "acme", b"canary:a", b"", "unknown", b"")
    assert left(tmp_path) == ([], [closed])
    assert len(found(tmp_path).open_claims) == 1


@given(place=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_a_changed_byte_hides_no_claim_but_its_own(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """Of a log with two open claims, any byte changed: what is behind it is found, and the damage is reported."""
    folder = tmp_path_factory.mktemp("log")
    records: list[Record] = [
        OpenedRecord(1, 1),
        intent(b"a"),
        intent(b"closed"),
        returned(b"closed"),
        intent(b"b"),
        outcome(b"b"),
    ]
    file = write(folder, *records)
    raw = bytearray(file.read_bytes())
    place %= len(raw)
    ends = list(accumulate(len(frame(encode_record(record))) for record in records))
    hit = records[bisect_right(ends, place)]
    raw[place] ^= 1 << bit
    file.write_bytes(raw)
    what = found(folder)
    (damage,) = what.damage
    assert damage.segment == file.name
    assert damage.offset <= place < damage.offset + damage.size_bytes
    open_jobs = {record.job_id for record in what.unknown} | {record.job_id for record in what.unreleased}
    if damage.record_recovered:
        assert open_jobs == {b"a", b"b"}
    else:
        lost = {b"a"} if hit == intent(b"a") else set()
        assert open_jobs >= {b"a", b"b"} - lost
        assert [o.job_id for o in what.unreleased] == ([] if hit == outcome(b"b") else [b"b"])
