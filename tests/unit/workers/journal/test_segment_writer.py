"""One segment after the other: whatever call fails, what was acknowledged is durable, and nothing is tried twice."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.farm.logged_jobs import append
from workers.journal import segment_writer as module
from workers.journal.open_claims import OpenClaims
from workers.journal.records import (
    IntentRecord,
    OpenedRecord,
    OutcomeRecord,
    ReleasedRecord,
    decode_record,
    encode_record,
)
from workers.journal.recovery import recover
from workers.journal.segment_writer import SEGMENT_AGE_S, SegmentWriter
from workers.journal.segments import frame, read_segment, segment_number, segments_of


def intent(name: bytes) -> IntentRecord:
    return IntentRecord(1, "acme", name, b"lease", 1, b"sealed")


def released(name: bytes) -> ReleasedRecord:
    return ReleasedRecord(1, "acme", name, b"lease", "committed")


def heads(folder: Path) -> dict[int, int]:
    """Head of each segment: the first segment in which a claim is open."""
    found = {segment_number(file): decode_record(next(read_segment(file))) for file in segments_of(folder)}
    return {number: head.first_open for number, head in found.items() if isinstance(head, OpenedRecord)}


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the next call of this function of ``os`` fail with EIO."""

    def once(name: str) -> None:
        real = getattr(os, name)

        def broken(*arguments: object) -> object:
            monkeypatch.setattr(os, name, real)
            if name == "close":
                real(*arguments)  # close(2) frees the descriptor even if it fails
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, name, broken)

    return once


@pytest.mark.parametrize("call", ["open", "fsync", "write", "fdatasync"])
def test_a_segment_in_whose_beginning_a_call_failed_is_never_used(
    tmp_path: Path, fails: Callable[[str], None], call: str
) -> None:
    """Nor one whose name may not be durable: the next append begins another, and the first leaves no file."""
    writer = SegmentWriter(tmp_path)
    fails(call)
    with pytest.raises(OSError, match="Input/output error"):
        append(writer, intent(b"a"))
    append(writer, intent(b"b"))
    assert list(heads(tmp_path)) == [2]


def test_a_close_that_fails_loses_nothing_and_is_not_tried_again(
    tmp_path: Path, fails: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor may be that of another file by then; what counts was synced."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"a"))
    fails("close")
    append(writer, intent(b"b"))
    append(writer, intent(b"c"))
    written = [[decode_record(raw) for raw in read_segment(file)][1:] for file in segments_of(tmp_path)]
    assert written == [[intent(b"a")], [intent(b"b")], [intent(b"c")]]


def test_the_first_error_is_told_even_if_the_file_cannot_be_removed(
    tmp_path: Path, fails: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that became read-only fails at everything."""

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", read_only)
    fails("fdatasync")
    with pytest.raises(OSError, match="Input/output error"):
        append(SegmentWriter(tmp_path), intent(b"a"))


def test_a_segment_says_since_which_one_something_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Itself, when nothing is."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"a"))
    append(writer, intent(b"b"), released(b"b"))
    append(writer, released(b"a"))
    append(writer, intent(b"c"))
    assert heads(tmp_path) == {1: 1, 2: 1, 3: 1, 4: 4}


def test_it_knows_what_a_former_process_left_open(tmp_path: Path) -> None:
    """Until that is closed: a second crash begins to read there."""
    claims = OpenClaims()
    claims.apply(intent(b"a"), 7)
    (tmp_path / "000000000009.wal").write_bytes(frame(encode_record(OpenedRecord(1, 7))))
    writer = SegmentWriter(tmp_path, open_claims=claims)
    assert writer.first_open == 7
    append(writer, intent(b"b"))
    head = decode_record(next(read_segment(segments_of(tmp_path)[-1])))
    assert isinstance(head, OpenedRecord)
    assert head.first_open == 7
    append(writer, released(b"a"), released(b"b"))
    assert segment_number(segments_of(tmp_path)[-1]) == 10
    assert writer.first_open == 10


def test_a_record_that_was_not_acknowledged_opens_no_claim(
    tmp_path: Path, fails: Callable[[str], None]
) -> None:
    """It was not dispatched."""
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"a"), released(b"a"))
    fails("fdatasync")
    with pytest.raises(OSError, match="Input/output error"):
        append(writer, intent(b"b"))
    append(writer, intent(b"c"))
    assert writer.first_open == 2


def test_a_quiet_host_begins_a_segment_every_day(tmp_path: Path) -> None:
    """So that its old records can go, too."""
    now_s = [1000.0]
    writer = SegmentWriter(tmp_path, clock_s=lambda: now_s[0])
    append(writer, intent(b"a"))
    now_s[0] += SEGMENT_AGE_S - 1
    append(writer, intent(b"b"))
    assert len(segments_of(tmp_path)) == 1
    now_s[0] += 2
    append(writer, intent(b"c"))
    assert len(segments_of(tmp_path)) == 2


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_of_a_failed_append_nothing_is_read_back_where_the_process_ends_at_once(
    tmp_path: Path, fails: Callable[[str], None], call: str
) -> None:
    """No next segment says then that it does not count."""
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"signed"))
    (file,) = segments_of(tmp_path)
    before = file.read_bytes()
    fails(call)
    with pytest.raises(OSError, match="Input/output error"):
        append(writer, intent(b"requeued"))
    assert file.read_bytes() == before
    assert [each.job_id for each in recover(tmp_path).unknown] == [b"signed"]


def test_of_an_append_that_filled_the_disk_no_part_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write(2) takes what fits, and fails at the next call."""
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"a"))
    (file,) = segments_of(tmp_path)
    before = file.read_bytes()
    real = os.write

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) <= 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:-9])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            append(writer, intent(b"b"))
    assert file.read_bytes() == before
    append(writer, intent(b"c"))
    assert [each.job_id for each in recover(tmp_path).unknown] == [b"a", b"c"]


def test_an_empty_segment_that_cannot_be_removed_has_no_record(
    tmp_path: Path, fails: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "unlink", refuses)
    fails("fdatasync")
    with pytest.raises(OSError, match="Input/output error"):
        append(SegmentWriter(tmp_path), intent(b"a"))
    assert [file.stat().st_size for file in segments_of(tmp_path)] == [0]
    assert recover(tmp_path).unknown == []


def test_a_tail_that_cannot_be_cut_counts_until_the_next_segment_says_that_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends before has its intents closed as unknown, and its outcomes published: more is told than was done."""
    writer = SegmentWriter(tmp_path)
    append(writer, intent(b"signed"))

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    outcome = OutcomeRecord(1, "acme", b"signed", b"lease", "", b"result")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        patched.setattr(os, "ftruncate", broken)
        with pytest.raises(OSError, match="Input/output error"):
            append(writer, outcome, intent(b"requeued"))
    ended = recover(tmp_path)
    assert [each.job_id for each in ended.unknown] == [b"requeued"]
    assert ended.unreleased == [outcome]
    assert ended.damage == []
    append(writer, released(b"other"))
    lived = recover(tmp_path)
    assert [each.job_id for each in lived.unknown] == [b"signed"]
    assert lived.unreleased == []
