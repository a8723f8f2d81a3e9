"""Latest time seen: it never goes back, unless it was implausible."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.state.latest_time import KEEP_EACH_MS, MOST_AHEAD_MS, NAME, LatestTime

NOW_MS = 1_800_000_000_000


def test_the_latest_time_stays_when_the_clock_goes_back() -> None:
    """Within a process, without a file."""
    latest = LatestTime()
    assert latest.see(NOW_MS) == NOW_MS
    assert latest.see(NOW_MS - 2_400_000) == NOW_MS
    assert latest.see(NOW_MS + 1) == NOW_MS + 1


def test_a_clock_that_is_set_back_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the seconds; again when it has passed the latest time and is set back anew. Skew is not reported."""
    latest = LatestTime()
    for now_ms in (NOW_MS, NOW_MS - 59_999, NOW_MS - 3_600_000, NOW_MS - 3_599_000, NOW_MS, NOW_MS - 60_000):
        latest.see(now_ms)
    told = [(record.msg, record.__dict__["back_s"]) for record in caplog.records]
    assert told == [("clock.set_back", 3600), ("clock.set_back", 60)]


def test_another_process_knows_it(tmp_path: Path) -> None:
    """A restarted lane reads the file, which is a minute behind at most."""
    first = LatestTime(tmp_path)
    first.see(NOW_MS)
    first.see(NOW_MS + KEEP_EACH_MS)
    first.see(NOW_MS + KEEP_EACH_MS + 1)
    assert LatestTime(tmp_path).see(NOW_MS - 2_400_000) == NOW_MS + KEEP_EACH_MS


def test_a_later_time_of_another_process_is_not_overwritten(tmp_path: Path) -> None:
    """A lane that was idle while another one saw the later time learns it, and keeps it."""
    idle, busy = LatestTime(tmp_path), LatestTime(tmp_path)
    idle.see(NOW_MS)
    busy.see(NOW_MS + 3_600_000)
    assert idle.see(NOW_MS + KEEP_EACH_MS) == NOW_MS + 3_600_000
    assert LatestTime(tmp_path).see(NOW_MS) == NOW_MS + 3_600_000


def test_a_time_that_is_far_ahead_is_disregarded_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock that was years ahead for a moment must not refuse every envelope for years."""
    (tmp_path / NAME).write_text(str(NOW_MS + MOST_AHEAD_MS + 1))
    latest = LatestTime(tmp_path)
    assert latest.see(NOW_MS) == NOW_MS
    assert (tmp_path / NAME).read_text() == str(NOW_MS)
    assert latest.see(NOW_MS - MOST_AHEAD_MS - 1) == NOW_MS - MOST_AHEAD_MS - 1
    assert [record.msg for record in caplog.records] == ["clock.far_back"] * 2


@pytest.mark.parametrize("content", [b"", b"soon", b"\xff\xfe", b"-5", b"9" * 5000], ids=repr)
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    """With any content of the file the clock itself counts."""
    (tmp_path / NAME).write_bytes(content)
    assert LatestTime(tmp_path).see(NOW_MS) == NOW_MS


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """The time is then remembered by the process alone."""
    latest = LatestTime(tmp_path / "missing")
    assert latest.see(NOW_MS) == NOW_MS
    assert latest.see(NOW_MS - 1) == NOW_MS
