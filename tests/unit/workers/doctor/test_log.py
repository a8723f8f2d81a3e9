"""Checks of the write-ahead log: damage, events that wait, shares of its disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.fakes.configurations import configuration
from workers.doctor.findings import Finding, State
from workers.doctor.log import MOST_ROUND_S, MOST_WAIT_S, check_log
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.journal.scrubbing import ScrubbedPlace, ScrubReport, write_report
from workers.limits import log_shares
from workers.state.log_usage import LogUsage, keep_usage

NOW_S = 1_700_000_000.0


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    (tmp_path / "wal").mkdir()
    return tmp_path


def checked(state_dir: Path) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in check_log(configuration(state_dir=state_dir).service, NOW_S):
        found.setdefault(finding.check, []).append(finding)
    return found


def only(state_dir: Path, check: str) -> Finding:
    (finding,) = checked(state_dir)[check]
    return finding


def scrubbed(state_dir: Path, *, ended_at: float | None = NOW_S, places: int = 0) -> None:
    damage = tuple(ScrubbedPlace(segment="1.wal", offset=n, size_bytes=9) for n in range(places))
    report = ScrubReport(
        began_at=NOW_S - 10, ended_at=ended_at, segments=4, size_bytes=2 * 10**9, damage=damage
    )
    write_report(state_dir, report)


def test_before_the_first_worker_there_is_no_log_to_check(tmp_path: Path) -> None:
    assert check_log(configuration(state_dir=tmp_path).service) == []


@pytest.mark.parametrize(
    "ended_at, state, what",
    [
        (NOW_S, State.OK, "4 segments (2.0 GB) have no damage, as of 2023-11-14 22:13:20 UTC"),
        (None, State.OK, "under way"),
        (NOW_S - MOST_ROUND_S - 1, State.WARNING, "no round of the scrubber has ended since"),
    ],
)
def test_a_log_without_damage_says_when_it_was_read(
    state_dir: Path, ended_at: float | None, state: State, what: str
) -> None:
    scrubbed(state_dir, ended_at=ended_at)
    finding = only(state_dir, "log.damage")
    assert finding.state is state
    assert what in finding.text


def test_damage_that_the_scrubber_found_is_named_with_its_place(state_dir: Path) -> None:
    assert only(state_dir, "log.damage").state is State.WARNING
    scrubbed(state_dir, places=5)
    finding = only(state_dir, "log.damage")
    assert finding.state is State.FAIL
    assert "1.wal at 0, 1.wal at 1, 1.wal at 2 and 2 more places" in finding.text


@pytest.mark.parametrize("age_s, state", [(1.0, State.OK), (MOST_WAIT_S + 1, State.FAIL)])
def test_events_that_no_worker_takes_are_told(state_dir: Path, age_s: float, state: State) -> None:
    """A worker takes them within a second or two."""
    assert only(state_dir, "log.events").text == "no event waits for the log"
    EventSpool(state_dir).put(KeyRecord(int((NOW_S - age_s) * 1000), "acme", "created", "release"))
    finding = only(state_dir, "log.events")
    assert finding.state is state
    assert "1 file of events" in finding.text


def test_a_file_that_is_no_event_is_told(state_dir: Path) -> None:
    """It was renamed by the worker, and is in no log."""
    spool = EventSpool(state_dir)
    spool.put(KeyRecord(1, "acme", "created", "release"))
    (events,) = spool.waiting()
    spool.refuse(events)
    first, second = checked(state_dir)["log.events"]
    assert (first.state, second.state) == (State.OK, State.FAIL)
    assert second.subject.endswith(".unreadable")


def test_events_that_cannot_be_listed_are_not_taken_for_none(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> list[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(EventSpool, "waiting", refused)
    assert only(state_dir, "log.events").state is State.SKIPPED


def test_a_tenant_that_fills_the_disk_is_named(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its worker kept last; what was kept on another day says nothing."""
    monkeypatch.setattr(log_shares, "_free_bytes", lambda _: 1000)
    today = int(NOW_S // 86400)
    keep_usage(state_dir, LogUsage(day=today, written={"acme": 900, "globex": 700}))
    finding = only(state_dir, "log.share")
    assert (finding.subject, finding.state) == ("acme", State.WARNING)
    assert "90% of its share" in finding.text
    keep_usage(state_dir, LogUsage(day=today - 1, written={"acme": 900}))
    assert "log.share" not in checked(state_dir)
