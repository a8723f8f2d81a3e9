"""Old segments go, by the operator's policy; never one of which something is open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.journal.journal import WriteAheadLog
from workers.journal.open_claims import OpenClaims
from workers.journal.records import IntentRecord
from workers.journal.retention import folder_bytes, remove_old
from workers.journal.segments import segment_number, segment_path, segments_of

NOW_S = 2_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Segments 1 to 5, last written five to one hours ago."""
    for number in range(1, 6):
        file = segment_path(tmp_path, number)
        file.write_bytes(bytes(100))
        os.utime(file, (NOW_S, NOW_S - (6 - number) * 3600))
    return tmp_path


def numbers(folder: Path) -> list[int]:
    return [segment_number(file) for file in segments_of(folder)]


def test_segments_past_their_time_are_removed(folder: Path) -> None:
    """By when they were last written."""
    assert remove_old(folder, below=5, before_s=NOW_S - 3.5 * 3600) == 2
    assert numbers(folder) == [3, 4, 5]
    assert folder_bytes(folder) == 300


def test_a_segment_of_which_something_is_open_stays_and_so_does_all_behind_it(folder: Path) -> None:
    """However old."""
    remove_old(folder, below=2, before_s=NOW_S)
    assert numbers(folder) == [2, 3, 4, 5]


def test_the_newest_segment_stays(folder: Path) -> None:
    """Numbers only grow, also over a start of a host that was away for years."""
    remove_old(folder, below=100, before_s=NOW_S)
    assert numbers(folder) == [5]


def test_a_folder_that_is_not_there_is_tidy(tmp_path: Path) -> None:
    """The first start."""
    assert remove_old(tmp_path / "none", below=1, before_s=NOW_S) == 0
    assert folder_bytes(tmp_path / "none") == 0


async def test_a_log_removes_nothing_that_a_former_process_left_open(folder: Path) -> None:
    """Until it is closed, and the present segment is another one."""
    claims = OpenClaims()
    claims.apply(IntentRecord(1, "acme", b"job", b"lease", 1, b"sealed"), 2)
    wal = WriteAheadLog(folder)
    wal.inherit(claims)
    await wal.append([])
    assert await wal.tidy(3600.0) == 1
    assert numbers(folder) == [2, 3, 4, 5, 6]
    assert wal.bytes == folder_bytes(folder)
    await wal.close()
