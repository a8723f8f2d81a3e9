"""What a failed write left in a segment is not read back, and a segment that lost acknowledged bytes is damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.farm.logged_jobs import append
from workers.audit.job_history import histories_of
from workers.audit.seal import DamagedLog, seal
from workers.journal.acknowledged import FILE_NAME, Acknowledged, acknowledged_ends, read_acknowledged
from workers.journal.records import IntentRecord, OpenedRecord, ReturnedRecord, encode_record
from workers.journal.recovery import recover
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import damage_of, frame, read_segment, segment_number, segments_of
from workers.record.follower import LogFollower, Place


def intent(name: bytes) -> IntentRecord:
    return IntentRecord(1, "acme", name, b"w:1", 1, b"sealed", bytes(16))


def returned(name: bytes) -> ReturnedRecord:
    return ReturnedRecord(1, "acme", name, b"w:1", maybe_signed=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with one acknowledged record, one whose sync and whose cut failed, and one in the next segment."""
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"signed"))

    def fails(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        patched.setattr(os, "ftruncate", fails)
        with pytest.raises(OSError, match="Input/output error"):
            append(writer, intent(b"requeued"))
    append(writer, returned(b"signed"))
    return tmp_path


def test_the_tail_of_a_failed_write_that_could_not_be_cut_is_still_in_its_file(folder: Path) -> None:
    first, _ = segments_of(folder)
    assert len(list(read_segment(first))) == 3


def test_an_intent_whose_append_failed_is_not_closed_as_unknown_at_the_next_start(folder: Path) -> None:
    recovered = recover(folder)
    assert (recovered.unknown, recovered.unreleased, recovered.damage) == ([], [], [])


def test_a_job_whose_intent_was_never_durable_has_no_history(folder: Path) -> None:
    histories = histories_of(folder, [b"signed", b"requeued"], since_s=0.0)
    assert [event.what for event in histories.events[b"signed"]] == ["intent", "returned-in-doubt"]
    assert histories.events[b"requeued"] == []


def test_each_segment_says_how_many_bytes_of_the_one_before_count(folder: Path) -> None:
    files = segments_of(folder)
    acknowledged = len(frame(encode_record(OpenedRecord(10**12, 1)))) + len(
        frame(encode_record(intent(b"signed")))
    )
    ends = acknowledged_ends(files)
    assert list(ends) == [segment_number(files[0])]
    assert abs(ends[1] - acknowledged) < 8, "the time in the head has another length"
    assert ends[1] < files[0].stat().st_size


def test_a_new_process_says_nothing_about_the_segments_of_the_one_before(folder: Path) -> None:
    append(SegmentWriter(folder), intent(b"later"))
    assert list(acknowledged_ends(segments_of(folder))) == [1]


def test_a_segment_that_lost_acknowledged_bytes_is_damaged_and_not_torn(folder: Path) -> None:
    first = segments_of(folder)[0]
    end = acknowledged_ends(segments_of(folder))[1]
    whole = first.read_bytes()
    for cut in range(1, end):
        first.write_bytes(whole[:cut])
        damage = damage_of(first, end=end)
        assert damage, cut
        assert damage[-1].offset + damage[-1].size_bytes == end, cut
    with pytest.raises(DamagedLog, match="are damaged"):
        seal(folder)
    first.write_bytes(whole)
    assert damage_of(first, end=end) == []


def test_acknowledged_bytes_that_were_never_written_are_damage_and_no_torn_tail(folder: Path) -> None:
    """The file has its length, and zeros in place of what was acknowledged: a disk that lost a write it had confirmed."""
    first = segments_of(folder)[0]
    end = acknowledged_ends(segments_of(folder))[1]
    whole = first.read_bytes()
    for cut in range(len(whole[:end].rstrip(b"\0"))):
        first.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        assert damage_of(first, end=end), cut
    with pytest.raises(DamagedLog, match="are damaged"):
        seal(folder)


def test_a_flipped_bit_behind_the_acknowledged_bytes_is_no_damage(folder: Path) -> None:
    first = segments_of(folder)[0]
    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    first.write_bytes(data)
    seal(folder)


def test_a_log_of_a_former_version_is_read_whole(tmp_path: Path) -> None:
    """Its heads and intents have fewer fields."""
    head = frame(bytes.fromhex("93a64f70656e65640101"))  # ["Opened", 1, 1]
    old = encode_record(intent(b"old"))[:-18].replace(b"\x98", b"\x97", 1)
    (tmp_path / "000000000001.wal").write_bytes(head + frame(old))
    (unknown,) = recover(tmp_path).unknown
    assert unknown.job_id == b"old"
    assert acknowledged_ends(segments_of(tmp_path)) == {}


def test_the_acknowledged_bytes_are_told_to_processes_that_follow(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"a"))
    assert read_acknowledged(tmp_path) == Acknowledged(1, segments_of(tmp_path)[0].stat().st_size)


@pytest.mark.parametrize("data", [b"", b"x" * 19, b"x" * 20, b"x" * 21])
def test_a_file_of_acknowledged_bytes_that_is_not_whole_says_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    assert read_acknowledged(tmp_path) is None


def test_a_log_that_no_process_follows_says_nothing_and_is_followed_later(tmp_path: Path) -> None:
    """A worker whose record is off saves the write; one that is started with a record begins with all that is there."""
    writer = SegmentWriter(tmp_path, followed=False)
    append(writer, intent(b"a"))
    append(writer, returned(b"a"))
    assert not (tmp_path / FILE_NAME).exists()
    assert recover(tmp_path).unknown == []
    append(SegmentWriter(tmp_path), intent(b"b"))
    seen = [
        record
        for record in LogFollower(tmp_path, Place()).records(100)
        if not isinstance(record, OpenedRecord)
    ]
    assert seen == [intent(b"a"), returned(b"a"), intent(b"b")]
