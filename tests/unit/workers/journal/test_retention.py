"""Old segments go, by the operator's policy; never one of which something is open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.journal.journal import WriteAheadLog
from workers.journal.open_claims import OpenClaims
from workers.journal.records import IntentRecord
from workers.journal.retention import Removal, SealedRetention, folder_bytes, remove_old
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
    assert remove_old(folder, below=5, keep_s=3.5 * 3600, now_s=NOW_S).removed == 2
    assert numbers(folder) == [3, 4, 5]
    assert folder_bytes(folder) == 300


def test_a_segment_of_which_something_is_open_stays_and_so_does_all_behind_it(folder: Path) -> None:
    """However old."""
    remove_old(folder, below=2, keep_s=0.0, now_s=NOW_S)
    assert numbers(folder) == [2, 3, 4, 5]


def test_the_newest_segment_stays(folder: Path) -> None:
    """Numbers only grow, also over a start of a host that was away for years."""
    remove_old(folder, below=100, keep_s=0.0, now_s=NOW_S)
    assert numbers(folder) == [5]


def test_a_folder_that_is_not_there_is_tidy(tmp_path: Path) -> None:
    """The first start."""
    assert remove_old(tmp_path / "none", below=1, keep_s=0.0, now_s=NOW_S).removed == 0
    assert folder_bytes(tmp_path / "none") == 0


async def test_a_log_removes_nothing_that_a_former_process_left_open(folder: Path) -> None:
    """A claim is open in segment 2: it and those behind it stay, and the log begins one of its own."""
    claims = OpenClaims()
    claims.apply(IntentRecord(1, "acme", b"job", b"lease", 1, b"sealed"), 2)
    wal = WriteAheadLog(folder)
    wal.inherit(claims)
    await wal.append([])
    assert await wal.tidy(3600.0) == 1
    assert numbers(folder) == [2, 3, 4, 5, 6]
    assert wal.bytes == folder_bytes(folder)
    await wal.close()


DAY_S = 86400.0
NOW_AFTER_YEARS_S = 100_000 * DAY_S
KEEP_S = 762 * DAY_S


def daily_log(folder: Path, days: int) -> None:
    """A segment a day, the newest written now."""
    for number in range(1, days + 1):
        file = segment_path(folder, number)
        file.touch()
        written_s = NOW_AFTER_YEARS_S - (days - number) * DAY_S
        os.utime(file, (written_s, written_s))


def start(folder: Path, now_s: float) -> Removal:
    """A start at this time by the host's clock: a new segment, then the retention."""
    file = segment_path(folder, numbers(folder)[-1] + 1)
    file.touch()
    os.utime(file, (now_s, now_s))
    return remove_old(folder, below=10_000, keep_s=KEEP_S, now_s=now_s)


def test_a_clock_that_is_years_ahead_removes_nothing(tmp_path: Path) -> None:
    """Not at once, not after restarts at the same clock, and not when the clock is right again."""
    daily_log(tmp_path, 600)
    ahead_s = NOW_AFTER_YEARS_S + 3 * 365 * DAY_S
    for _ in range(3):
        done = start(tmp_path, ahead_s)
        assert (done.removed, done.held_back > 0) == (0, True)
        assert done.gap_s == pytest.approx(3 * 365 * DAY_S)
    assert start(tmp_path, NOW_AFTER_YEARS_S + DAY_S).removed == 0
    assert len(numbers(tmp_path)) == 604


def test_segments_that_are_old_along_the_log_are_removed(tmp_path: Path) -> None:
    """A host in daily use keeps its segments for ``keep_days``, whatever the gap of a weekend."""
    daily_log(tmp_path, 800)
    now_s = NOW_AFTER_YEARS_S + 3 * DAY_S
    done = remove_old(tmp_path, below=10_000, keep_s=KEEP_S, now_s=now_s)
    assert (done.removed, done.held_back) == (40, 0)


def test_a_short_retention_is_not_used_up_by_one_jump(tmp_path: Path) -> None:
    """Of a retention of 30 days a jump counts a quarter."""
    daily_log(tmp_path, 20)
    now_s = NOW_AFTER_YEARS_S + 3 * 365 * DAY_S
    done = remove_old(tmp_path, below=10_000, keep_s=30 * DAY_S, now_s=now_s)
    assert (done.removed, done.held_back) == (0, 19)


async def test_what_is_kept_longer_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The worker's clock is three years ahead: the line has the gap that it saw."""
    daily_log(tmp_path, 10)
    wal = WriteAheadLog(tmp_path, clock_s=lambda: NOW_AFTER_YEARS_S + 3 * 365 * DAY_S)
    wal.inherit(OpenClaims())
    for _ in range(2):
        assert await wal.tidy(KEEP_S) == 0
    await wal.close()
    (line,) = [record for record in caplog.records if record.msg == "log.kept_longer"]
    assert (line.segments, line.gap_days) == (9, 1095)  # type: ignore[attr-defined]


async def test_sealed_segments_go_after_days_and_others_as_without_a_record(tmp_path: Path) -> None:
    """Ten daily segments: the first six are sealed, of which number 2 has something that is not in the record."""
    daily_log(tmp_path, 10)
    wal = WriteAheadLog(tmp_path, clock_s=lambda: NOW_AFTER_YEARS_S)
    wal.inherit(OpenClaims())
    sealed = SealedRetention(below=7, keep_s=2.5 * DAY_S, incomplete=frozenset({2}))
    assert await wal.tidy(KEEP_S, sealed=sealed) == 5
    assert numbers(tmp_path) == [2, 7, 8, 9, 10]
    assert await wal.tidy(7.5 * DAY_S, sealed=sealed) == 1
    await wal.close()
    assert numbers(tmp_path) == [7, 8, 9, 10], "what is not sealed stays whatever its age"


async def test_a_sealed_segment_with_an_open_claim_stays(tmp_path: Path) -> None:
    daily_log(tmp_path, 10)
    claims = OpenClaims()
    claims.apply(IntentRecord(1, "acme", b"job", b"lease", 1, b"sealed"), 3)
    wal = WriteAheadLog(tmp_path, clock_s=lambda: NOW_AFTER_YEARS_S)
    wal.inherit(claims)
    assert await wal.tidy(KEEP_S, sealed=SealedRetention(below=9, keep_s=DAY_S)) == 2
    await wal.close()
    assert numbers(tmp_path) == list(range(3, 11))
