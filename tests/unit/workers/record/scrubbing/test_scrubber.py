"""Scrubber of a record: in steps, at most one round a day, and what it finds stays known until a round finds it sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from workers.journal.segment_writer import SegmentWriter
from workers.record.folder import FOLDER_NAME, LOGS_NAME, log_folder
from workers.record.scrubbing.scrubber import ROUND_S, RecordScrubber


class Clock:
    """Each look at it takes a hundredth of a second."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.01
        return self.now_s


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Logs of two tenants, of ten jobs each."""
    writer = SegmentWriter(tmp_path / "wal")
    for number in range(1, 11):
        append(writer, *job("acme", number), *job("globex", number))
    seal(tmp_path)
    return tmp_path / FOLDER_NAME / LOGS_NAME


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def scrub(scrubber: RecordScrubber) -> int:
    """Read to the end of a round; the number of steps."""
    steps = 0
    before = -1
    while scrubber.entries > before:
        before = scrubber.entries
        scrubber.read()
        steps += 1
    return steps


def test_a_round_is_read_in_steps(logs: Path) -> None:
    """Between two of them the sealer signs."""
    scrubber = RecordScrubber(logs, Clock())
    assert scrub(scrubber) > 10
    assert (scrubber.entries, scrubber.damage) == (62, ())


def test_damage_of_one_log_is_known_until_a_round_finds_it_sound(
    logs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each place is logged once a round, with its tenant; the log of the next tenant is read, too."""
    clock = Clock()
    scrubber = RecordScrubber(logs, clock)
    (logs / "acme/checkpoint").write_bytes(b"no note")
    flip(log_folder(tmp_path, "globex") / "items/000000.bin")
    scrub(scrubber)
    assert [place.split(" ")[0] for place in scrubber.damage] == [
        f"acme/{logs}/acme/checkpoint",
        "globex/items/000000.bin:",
    ]
    told = [(record.getMessage(), record.__dict__["tenant"]) for record in caplog.records]
    assert told == [("record.rotten", "acme"), ("record.rotten", "globex")]
    flip(log_folder(tmp_path, "globex") / "items/000000.bin")
    scrub(scrubber)
    assert len(scrubber.damage) == 2, "the next round has not begun"
    clock.now_s += ROUND_S
    scrubber.read()
    assert len(scrubber.damage) == 2, "it has not ended"
    scrub(scrubber)
    assert len(scrubber.damage) == 1


def test_a_record_without_logs_is_no_damage(tmp_path: Path) -> None:
    scrubber = RecordScrubber(tmp_path / "none", Clock())
    scrubber.read()
    assert (scrubber.entries, scrubber.damage) == (0, ())
