"""Reading around bytes that the disk does not give."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.farm.lost_sectors import lose
from workers.journal.damage import Damage
from workers.journal.segments import frame, read_frames
from workers.journal.unreadable import BLOCK_BYTES, read_around


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three blocks and a half, each byte its block's number."""
    path = tmp_path / "000000000001.wal"
    path.write_bytes(b"".join(bytes([number]) * BLOCK_BYTES for number in range(4))[: -BLOCK_BYTES // 2])
    return path


@pytest.mark.parametrize("start", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES + 7])
@pytest.mark.parametrize("end", [None, 2 * BLOCK_BYTES + 5, 100 * BLOCK_BYTES])
def test_everything_stands_where_it_was_but_for_the_lost_block(
    file: Path, monkeypatch: pytest.MonkeyPatch, start: int, end: int | None
) -> None:
    whole = file.read_bytes()[start:end]
    lose(monkeypatch, file, range(BLOCK_BYTES, 2 * BLOCK_BYTES))
    lost: list[range] = []
    data = read_around(file, start, end, lost)
    assert len(data) == len(whole)
    assert lost == [range(max(start, BLOCK_BYTES), 2 * BLOCK_BYTES)]
    for offset, (read, was) in enumerate(zip(data, whole, strict=True), start):
        assert read == (0xFF if offset in lost[0] else was)


def test_a_file_that_is_sound_is_read_whole(file: Path) -> None:
    lost: list[range] = []
    assert read_around(file, 0, None, lost) == file.read_bytes()
    assert lost == []


def test_another_error_is_none_of_the_disk_s_bytes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> bytes:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "pread", denied)
    with pytest.raises(PermissionError):
        read_around(file, 0, None, [])


def test_a_lost_block_at_the_end_is_no_torn_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a segment that a crash has ended nobody knows how long it was: zeros there would pass for blocks that were never written."""
    file = tmp_path / "000000000001.wal"
    first = frame(b"\x93" + b"a" * (BLOCK_BYTES - 9))
    file.write_bytes(first + frame(b"\x93" + b"b" * 100))
    lose(monkeypatch, file, range(BLOCK_BYTES, 2 * BLOCK_BYTES))
    damage: list[Damage] = []
    assert [end for end, _ in read_frames(file, damage, around=[])] == [BLOCK_BYTES]
    assert damage == [Damage(file.name, BLOCK_BYTES, 109)]
