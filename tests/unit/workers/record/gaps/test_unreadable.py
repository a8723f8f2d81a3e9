"""What the disk does not give stops the record for a time, and then costs itself: each log says what is missing."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

import pytest

from queueing.aio.backoff import Backoff
from queueing.transparency.entries import Entry, decode_entry
from queueing.transparency.event_entries import GapEntry
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.lost_sectors import lose
from tests.support.farm.sealed_logs import EPOCH_KEY, run_to_end, sealer
from tests.unit.workers.record.test_gaps import frame_ends
from tests.unit.workers.record.test_sealer import entries
from tests.unit.workers.record.test_sealing import content
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import segments_of
from workers.journal.unreadable_places import (
    GIVE_UP_S,
    LEAST_TRIES,
    RETRY_S,
    SegmentUnreadable,
    UnreadablePlaces,
)
from workers.record.exchange import read_status
from workers.record.folder import sealed_segments
from workers.record.replacement import former_records
from workers.record.sealer import Sealer
from workers.record.sealing import SealingLoop

LOST = range(8192, 12288)
"""A page in the middle of the first segment."""


class Clock:
    """Time that passes where the loop waits, up to ``stops_s``."""

    def __init__(self, stops_s: float) -> None:
        self.now_s = 0.0
        self.stops_s = stops_s

    def __call__(self) -> float:
        return self.now_s


class Stop(threading.Event):
    """Waits without waiting."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now_s += timeout or 0.1
        if self._clock.now_s >= self._clock.stops_s:
            self.set()
        return self.is_set()


def seal(state_dir: Path, *, for_s: float) -> None:
    clock = Clock(for_s)
    loop = SealingLoop(
        state_dir,
        log_name="sigmill/prod",
        build="1.0",
        backoff=Backoff(first_s=0.0, most_s=0.0),
        clock_s=clock,
    )
    loop.run(Stop(clock))


def decoded(state_dir: Path, tenant: str) -> list[Entry | None]:
    return [decode_entry(entry) for entry in entries(state_dir, tenant)]


def gaps(state_dir: Path, tenant: str) -> list[GapEntry]:
    return [entry for entry in decoded(state_dir, tenant) if isinstance(entry, GapEntry)]


def given_up(segment: int, offset: int, size_bytes: int) -> UnreadablePlaces:
    """Places of which this one was tried for long enough."""
    places = UnreadablePlaces()
    error = SegmentUnreadable(
        OSError(errno.EIO, "lost"), segment=segment, offset=offset, size_bytes=size_bytes
    )
    for number in range(LEAST_TRIES):
        places.failed(error, number * GIVE_UP_S / 2)
    assert places.is_given_up(segment, offset)
    return places


def sealer_that_gave_up(state_dir: Path, places: UnreadablePlaces) -> Sealer:
    return Sealer(state_dir, log_name="sigmill/prod", build="1.0", epoch_key=EPOCH_KEY, unreadable=places)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Two segments, the first one of more than five pages."""
    state = tmp_path / "state"
    writer = SegmentWriter(state / "wal")
    for number in range(1, 40):
        append(writer, *job("acme" if number % 2 else "globex", number))
    append(SegmentWriter(state / "wal"), *job("acme", 90), *job("globex", 91))
    (state / "record").mkdir()
    (state / "record" / "origin").write_text("ab" * 64 + " 1.0\n")
    assert segments_of(state / "wal")[0].stat().st_size > 5 * 4096
    return state


@pytest.fixture
def first(state_dir: Path) -> Path:
    return segments_of(state_dir / "wal")[0]


def lost_frames(file: Path, lost: range) -> tuple[int, int]:
    """Place of the frames that have a lost byte."""
    ends = [0, *frame_ends(file)]
    return max(end for end in ends if end <= lost.start), min(end for end in ends if end >= lost.stop)


def test_a_sector_that_stays_lost_is_a_gap_in_every_log_and_sealing_goes_on_behind_it(
    state_dir: Path, first: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end = lost_frames(first, LOST)
    with monkeypatch.context() as failing:
        lose(failing, first, LOST)
        seal(state_dir, for_s=GIVE_UP_S + 10 * RETRY_S)
    for tenant in ("acme", "globex"):
        (gap,) = gaps(state_dir, tenant)
        assert (gap.segment, gap.first, gap.end, gap.reason) == (1, begin, end, "unreadable")
        last = decoded(state_dir, tenant)[-1]
        assert last is not None
        assert (last.kind, last.at_ms >= 90) == ("committed", True)
    status = read_status(state_dir)
    assert status is not None
    assert status.failures["unreadable"] == 1
    said = [(each.getMessage(), each.__dict__.get("offset")) for each in caplog.records]
    assert said.count(("record.unreadable", begin)) == 1
    assert said.count(("record.given_up", begin)) == 1
    assert sealed_segments(state_dir).incomplete == {1}, "the segment is kept"
    assert former_records(state_dir) == []


def test_what_is_before_the_lost_sector_is_sealed_meanwhile_and_nothing_behind_it(
    state_dir: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = state_dir.parent / "whole"
    shutil.copytree(state_dir, whole)
    run_to_end(sealer(whole))
    with monkeypatch.context() as failing:
        lose(failing, first, LOST)
        seal(state_dir, for_s=GIVE_UP_S - 2 * RETRY_S)
    for tenant in ("acme", "globex"):
        sealed = entries(state_dir, tenant)
        assert len(sealed) > 3
        assert entries(whole, tenant)[: len(sealed)] == sealed
        assert len(sealed) < len(entries(whole, tenant))
        assert gaps(state_dir, tenant) == []


def test_a_disk_that_comes_back_in_time_leaves_no_gap(
    state_dir: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = state_dir.parent / "whole"
    shutil.copytree(state_dir, whole)
    run_to_end(sealer(whole))
    with monkeypatch.context() as failing:
        lose(failing, first, LOST)
        seal(state_dir, for_s=GIVE_UP_S / 2)
    seal(state_dir, for_s=5.0)
    assert content(state_dir) == content(whole)


def test_a_disk_that_reads_again_contradicts_nothing_that_was_told(
    state_dir: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sealer that told it is killed behind its checkpoint: the next one does not read the place again."""
    begin, _ = lost_frames(first, LOST)
    with monkeypatch.context() as failing:
        lose(failing, first, LOST)
        places = given_up(1, begin, first.stat().st_size)
        running = sealer_that_gave_up(state_dir, places)
        with pytest.raises(SegmentUnreadable):
            running.advance()
        run_to_end(running)
    before = {tenant: entries(state_dir, tenant) for tenant in ("acme", "globex")}
    append(SegmentWriter(state_dir / "wal"), *job("acme", 95))
    seal(state_dir, for_s=5.0)
    for tenant, told in before.items():
        assert entries(state_dir, tenant)[: len(told)] == told
        assert [gap.reason for gap in gaps(state_dir, tenant)] == ["unreadable"]
    assert former_records(state_dir) == []


@pytest.mark.parametrize("segment", [1, 2])
def test_the_lost_sector_may_have_the_head_of_a_segment(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, segment: int
) -> None:
    append(SegmentWriter(state_dir / "wal"), *job("acme", 95))
    file = segments_of(state_dir / "wal")[segment - 1]
    with monkeypatch.context() as failing:
        lose(failing, file, range(4096))
        seal(state_dir, for_s=2 * GIVE_UP_S)
        assert decoded(state_dir, "acme")[-1].at_ms == 95  # type: ignore[union-attr]
        (gap,) = gaps(state_dir, "acme")
        assert (gap.segment, gap.first, gap.reason) == (segment, 0, "unreadable")
        seal(state_dir, for_s=5.0)  # a process that has given nothing up
    assert former_records(state_dir) == []


def test_a_lost_end_of_a_segment_that_a_crash_has_left_is_told(
    state_dir: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows how long it was, and a torn tail is no gap."""
    size = first.stat().st_size
    lost = range(size - size % 4096, size)
    begin, end = lost_frames(first, lost)
    with monkeypatch.context() as failing:
        lose(failing, first, lost)
        seal(state_dir, for_s=GIVE_UP_S + 10 * RETRY_S)
    assert [(gap.first, gap.end) for gap in gaps(state_dir, "globex")] == [(begin, end)]


LOST_PLACE = SegmentUnreadable(OSError(errno.EIO, "lost"), segment=3, offset=20, size_bytes=100)


def test_a_place_is_given_up_after_enough_tries_and_enough_time() -> None:
    places = UnreadablePlaces()
    first = [places.failed(LOST_PLACE, 0.0) for _ in range(LEAST_TRIES + 1)]
    assert first == [True] + [False] * LEAST_TRIES
    assert not places.is_given_up(3, 20), "no time has passed"
    places.failed(LOST_PLACE, GIVE_UP_S)
    assert not places.fails
    assert [places.is_given_up(3, offset) for offset in (19, 20, 99, 100)] == [False, True, True, False]
    assert not places.is_given_up(4, 20)


def test_a_process_that_was_stopped_has_tried_nothing() -> None:
    places = UnreadablePlaces()
    places.failed(LOST_PLACE, 0.0)
    places.failed(LOST_PLACE, 10 * GIVE_UP_S)
    assert places.fails


@pytest.mark.parametrize(
    "place, fails", [((3, 20), True), ((2, 999), True), ((3, 21), False), ((4, 0), False)]
)
def test_a_place_that_was_passed_counts_anew(place: tuple[int, int], fails: bool) -> None:
    places = UnreadablePlaces()
    places.failed(LOST_PLACE, 0.0)
    places.passed(*place)
    assert places.fails == fails
