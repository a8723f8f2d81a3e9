"""Latest time seen: it never goes back, unless the clock was ahead for a while, or the time was implausible."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queueing.unix_time import HostClock
from workers.state.latest_time import KEEP_EACH_MS, MOST_AHEAD_MS, NAME, LatestTime

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


class Host(HostClock):
    """The clock of a host, the time since its boot, and its lanes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = NOW_MS
        self.boot_ms = 10 * HOUR_MS
        self.boot = "one"
        self.lane = self.start_lane()

    def start_lane(self) -> LatestTime:
        return LatestTime(self.folder, self)

    def since_boot_ms(self) -> int:
        return self.boot_ms

    def boot_id(self) -> str:
        return self.boot

    def restart_lane(self) -> None:
        self.lane = self.start_lane()

    def passes(self, time_ms: int) -> int:
        """Time passes; what the lane sees then, relative to ``NOW_MS``."""
        self.now_ms += time_ms
        self.boot_ms += time_ms
        return self.seen()

    def is_set(self, step_ms: int) -> int:
        """The clock is set; what the lane sees then."""
        self.now_ms += step_ms
        return self.seen()

    def seen(self) -> int:
        return self.lane.see(self.now_ms) - NOW_MS


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_latest_time_stays_when_the_clock_goes_back(host: Host) -> None:
    """Until the clock has passed it."""
    assert host.seen() == 0
    assert host.is_set(-40 * 60_000) == 0
    assert host.passes(39 * 60_000) == 0
    assert host.passes(2 * 60_000) == 60_000


def test_another_process_knows_it(host: Host) -> None:
    """A restarted lane reads the file, which is a minute behind at most."""
    host.seen()
    host.passes(KEEP_EACH_MS)
    host.passes(1)
    host.restart_lane()
    assert host.is_set(-40 * 60_000) == KEEP_EACH_MS


def test_it_is_known_after_a_boot(host: Host) -> None:
    """Whatever the clock shows then."""
    host.seen()
    host.boot = "another"
    host.boot_ms = 0
    host.restart_lane()
    assert host.is_set(-40 * 60_000) == 0


def test_a_doubtful_time_counts_after_a_boot(host: Host) -> None:
    """Whether the clock was set ahead or time passed cannot be told any more."""
    host.seen()
    assert host.is_set(3 * HOUR_MS) == 3 * HOUR_MS
    host.boot = "another"
    host.boot_ms = 0
    host.restart_lane()
    assert host.is_set(-3 * HOUR_MS) == 3 * HOUR_MS


def test_a_time_since_boot_that_went_back_is_of_another_boot(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """In a container's time namespace (time_namespaces(7)) the boot id stays: the clock is not taken for one set ahead."""
    host.seen()
    host.boot_ms = HOUR_MS
    host.restart_lane()
    assert host.passes(60_000) == 60_000
    assert host.is_set(-40 * 60_000) == 60_000
    assert "clock.set_ahead" not in caplog.text


def test_a_later_time_of_another_process_is_not_overwritten(host: Host) -> None:
    """A lane that was idle while another one saw the later time learns it, and keeps it."""
    idle = host.lane
    host.seen()
    host.restart_lane()
    host.passes(HOUR_MS)
    host.now_ms -= HOUR_MS - KEEP_EACH_MS
    assert idle.see(host.now_ms) == NOW_MS + HOUR_MS
    host.restart_lane()
    assert host.seen() == HOUR_MS


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("ahead_ms", [3 * HOUR_MS, 3 * 365 * 24 * HOUR_MS])
def test_a_clock_that_was_ahead_and_is_right_again_leaves_nothing_behind(
    host: Host, ahead_ms: int, restart: bool
) -> None:
    """The time since boot tells that no more time has passed; also over a restart of the lane, before and after."""
    host.seen()
    host.passes(HOUR_MS)
    if restart:
        host.restart_lane()
    assert host.is_set(ahead_ms) == HOUR_MS + ahead_ms
    assert host.passes(2 * HOUR_MS) == 3 * HOUR_MS + ahead_ms
    if restart:
        host.restart_lane()
    assert host.is_set(-ahead_ms) == 3 * HOUR_MS
    assert host.passes(HOUR_MS) == 4 * HOUR_MS


def test_a_clock_that_is_set_back_behind_its_course_revives_nothing(host: Host) -> None:
    """After a step ahead that may have been right, the times of the step count."""
    host.seen()
    host.is_set(3 * HOUR_MS)
    assert host.is_set(-2 * HOUR_MS) == 3 * HOUR_MS
    assert host.is_set(-2 * HOUR_MS) == 3 * HOUR_MS


def test_a_step_ahead_that_lasts_is_believed(host: Host) -> None:
    """The clock was behind before: from a day on, nothing that it shows is forgotten."""
    host.seen()
    host.is_set(3 * HOUR_MS)
    assert host.passes(MOST_AHEAD_MS) == MOST_AHEAD_MS + 3 * HOUR_MS
    assert host.is_set(-3 * HOUR_MS) == MOST_AHEAD_MS + 3 * HOUR_MS


DAYS_MS = 3 * MOST_AHEAD_MS


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("step_ms", [3 * HOUR_MS, -DAYS_MS])
def test_the_course_that_the_clock_has_left_is_known_until_it_returns(
    host: Host, step_ms: int, restart: bool
) -> None:
    """As far as the time since boot leads, also over restarts of the lane."""
    host.seen()
    host.passes(HOUR_MS)
    if restart:
        host.restart_lane()
    host.is_set(step_ms)
    if restart:
        host.restart_lane()
    host.passes(HOUR_MS)
    assert host.lane.left_course_ms == NOW_MS + 2 * HOUR_MS
    assert host.is_set(-step_ms) == 2 * HOUR_MS
    host.passes(HOUR_MS)
    assert not host.lane.left_course_ms


def test_of_a_clock_that_was_wrong_before_the_first_look_no_other_course_is_known(host: Host) -> None:
    """A host that starts with its clock ahead has nothing to compare it with, nor has one after a boot."""
    host.now_ms += 3 * HOUR_MS
    host.seen()
    assert host.lane.left_course_ms is None


def test_a_clock_that_returns_to_the_course_it_had_left_is_not_doubted(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is the next step ahead taken for a return."""
    host.seen()
    host.is_set(-DAYS_MS)
    host.is_set(DAYS_MS)
    assert [record.msg for record in caplog.records] == ["clock.far_back"]
    host.is_set(3 * HOUR_MS)
    assert [record.msg for record in caplog.records] == ["clock.far_back", "clock.set_ahead"]


def test_steps_are_reported_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """With the seconds; a further one when the clock was on its course in between. Skew is not reported."""
    for step_ms in (0, -59_999, 59_999, -HOUR_MS, 1000, HOUR_MS - 1000, -60_000, 60_000, 2 * HOUR_MS, 1000):
        host.is_set(step_ms)
    told = [(r.msg, r.__dict__.get("back_s", r.__dict__.get("ahead_s"))) for r in caplog.records]
    assert told == [("clock.set_back", 3600), ("clock.set_back", 60), ("clock.set_ahead", 7200)]


def test_a_time_that_is_far_ahead_is_disregarded_and_reported(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock that was years ahead for a moment must not refuse every envelope for years."""
    (host.folder / NAME).write_text(str(NOW_MS + MOST_AHEAD_MS + 1))
    assert host.seen() == 0
    host.restart_lane()
    assert host.seen() == 0
    assert host.is_set(-MOST_AHEAD_MS - 1) == -MOST_AHEAD_MS - 1
    assert [record.msg for record in caplog.records] == ["clock.far_back"] * 2


def test_the_file_of_an_earlier_version_is_read(host: Host) -> None:
    """It has the latest time alone."""
    (host.folder / NAME).write_text(str(NOW_MS + HOUR_MS))
    assert host.seen() == HOUR_MS


@pytest.mark.parametrize(
    "content", [b"", b"soon", b"\xff\xfe", b"-5", b"9" * 5000, b"[]", b'{"latest_ms": -1}'], ids=repr
)
def test_a_damaged_file_is_as_none(host: Host, content: bytes) -> None:
    """Whatever is in it, the clock itself counts."""
    (host.folder / NAME).write_bytes(content)
    assert host.seen() == 0


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """The time is then remembered by the process alone."""
    host = Host(tmp_path / "missing")
    assert host.seen() == 0
    assert host.is_set(-1) == 0


@pytest.mark.timeout(10)
def test_a_pipe_in_the_place_of_the_file_is_as_none(host: Host) -> None:
    """The lane does not wait for it at each envelope, and puts a file in its place."""
    os.mkfifo(host.folder / NAME)
    assert host.seen() == 0
    assert (host.folder / NAME).is_file()
