"""Segments: what was written is read back, up to the first damage, never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.audit.segments import MAX_RECORD_BYTES, frame, next_segment, read_segment, segments_of

PAYLOADS = [b"first", b"", b"\x00" * 20, b"the last one"]
WHOLE = b"".join(map(frame, PAYLOADS))


def read(folder: Path, content: bytes) -> list[bytes]:
    file = folder / "000000000001.wal"
    file.write_bytes(content)
    return list(read_segment(file))


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    """Empty records too."""
    assert read(tmp_path, WHOLE) == PAYLOADS


def test_a_tail_torn_at_any_byte_costs_the_torn_record_only(tmp_path: Path) -> None:
    """Whole records before it are all there, and nothing is made up."""
    ends = [len(b"".join(map(frame, PAYLOADS[: n + 1]))) for n in range(len(PAYLOADS))]
    for length in range(len(WHOLE)):
        whole = sum(end <= length for end in ends)
        assert read(tmp_path, WHOLE[:length]) == PAYLOADS[:whole]


def test_a_byte_changed_anywhere_ends_the_reading_before_its_record(tmp_path: Path) -> None:
    """A changed record is never believed."""
    for place in range(len(WHOLE)):
        changed = WHOLE[:place] + bytes([WHOLE[place] ^ 0x10]) + WHOLE[place + 1 :]
        found = read(tmp_path, changed)
        assert found == PAYLOADS[: len(found)]
        assert len(found) < len(PAYLOADS)


@pytest.mark.parametrize("tail", [b"\x00" * 4096, b"\xff" * 4096], ids=["zeros", "ones"])
def test_a_tail_of_blocks_that_were_never_written_is_no_record_of_ours(tmp_path: Path, tail: bytes) -> None:
    """A file system may show them after a power loss; zeros read as empty records, which mean nothing."""
    found = read(tmp_path, WHOLE + tail)
    assert found[: len(PAYLOADS)] == PAYLOADS
    assert not any(found[len(PAYLOADS) :])


def test_a_length_beyond_any_record_is_damage(tmp_path: Path) -> None:
    """Nothing of that size is read into memory."""
    head = (MAX_RECORD_BYTES + 1).to_bytes(4, "big") + bytes(4)
    assert read(tmp_path, frame(b"good") + head + b"x" * 100) == [b"good"]


def test_segments_are_numbered_behind_each_other(tmp_path: Path) -> None:
    """Also behind one whose predecessors are gone; other files do not matter."""
    assert next_segment(tmp_path).name == "000000000001.wal"
    for name in ("000000000009.wal", "000000000010.wal", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in segments_of(tmp_path)] == ["000000000009.wal", "000000000010.wal"]
    assert next_segment(tmp_path).name == "000000000011.wal"


def test_a_folder_that_is_not_there_has_no_segments(tmp_path: Path) -> None:
    """The first start."""
    assert segments_of(tmp_path / "none") == []
