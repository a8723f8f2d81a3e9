"""What a start after a crash finds: intents to close as unknown, outcomes to publish again."""

from __future__ import annotations

import os
from pathlib import Path

from workers.audit.records import Intent, Outcome, Record, Released, Returned, Unknown, encode_record
from workers.audit.recovery import Recovered, recover
from workers.audit.segments import frame

NOW_S = 2_000_000.0
KEEP_S = 3600.0


def intent(job: bytes, lease: bytes = b"w:1") -> Intent:
    return Intent(1, "acme", job, lease, 1, b"sealed")


def outcome(job: bytes, lease: bytes = b"w:1", result: bytes = b"result") -> Outcome:
    return Outcome(2, "acme", job, lease, "", result)


def released(job: bytes, lease: bytes = b"w:1") -> Released:
    return Released(3, "acme", job, lease, "committed")


def returned(job: bytes, lease: bytes = b"w:1") -> Returned:
    return Returned(3, "acme", job, lease, maybe_signed=False)


def unknown(job: bytes, lease: bytes = b"w:1") -> Unknown:
    return Unknown(int(NOW_S * 1000), "acme", job, lease)


def write(folder: Path, *records: Record, number: int = 1, age_s: float = 0.0, tail: bytes = b"") -> Path:
    file = folder / f"{number:012d}.wal"
    file.write_bytes(b"".join(frame(encode_record(record)) for record in records) + tail)
    os.utime(file, (NOW_S - age_s, NOW_S - age_s))
    return file


def found(folder: Path) -> Recovered:
    return recover(folder, keep_s=KEEP_S, now_s=NOW_S)


def test_an_intent_without_an_outcome_is_unknown(tmp_path: Path) -> None:
    """It may have been signed; nobody has seen it."""
    write(tmp_path, intent(b"a"), intent(b"b"), outcome(b"b"), released(b"b"))
    assert found(tmp_path) == Recovered(unknown=[unknown(b"a")])


def test_an_outcome_without_a_release_is_published_again(tmp_path: Path) -> None:
    """It was durable, so it is not signed a second time."""
    write(tmp_path, intent(b"a"), outcome(b"a"))
    assert found(tmp_path) == Recovered(unreleased=[outcome(b"a")])


def test_what_came_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    """Released, returned, or closed by the start before this one."""
    write(
        tmp_path,
        *(intent(b"a"), outcome(b"a"), released(b"a")),
        *(intent(b"b"), returned(b"b")),
        *(intent(b"c"), unknown(b"c")),
    )
    assert found(tmp_path) == Recovered()


def test_claims_of_one_job_are_apart(tmp_path: Path) -> None:
    """A returned claim does not end the next one."""
    write(tmp_path, intent(b"a", b"w:1"), returned(b"a", b"w:1"), intent(b"a", b"w:2"))
    assert found(tmp_path).unknown == [unknown(b"a", b"w:2")]


def test_an_outcome_closes_its_intent_in_a_later_segment(tmp_path: Path) -> None:
    """Segments are one log."""
    write(tmp_path, intent(b"a"), number=1)
    write(tmp_path, outcome(b"a"), number=2)
    assert found(tmp_path) == Recovered(unreleased=[outcome(b"a")])


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
        tail=frame(b"\x92\xa6Future\x01") + frame(b"") + frame(encode_record(outcome(b"a"))),
    )
    assert found(tmp_path).unreleased == [outcome(b"a")]


def test_segments_past_their_retention_are_not_read(tmp_path: Path) -> None:
    """Their results are gone from Redis, too."""
    write(tmp_path, intent(b"old"), number=1, age_s=KEEP_S + 1)
    write(tmp_path, intent(b"new"), number=2, age_s=KEEP_S - 1)
    assert found(tmp_path).unknown == [unknown(b"new")]


def test_the_first_start_finds_nothing(tmp_path: Path) -> None:
    """There is no folder yet."""
    assert found(tmp_path / "wal") == Recovered()
