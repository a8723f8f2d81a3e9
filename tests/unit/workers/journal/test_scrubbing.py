"""Scrubber: each flipped bit of a closed segment is found and named, and what cannot be read at all too."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.farm.logged_events import events_of
from tests.support.farm.logged_jobs import append, intent, job
from workers.journal import scrubbing as module
from workers.journal.damage import Damage
from workers.journal.journal import WriteAheadLog
from workers.journal.scrubbing import Scrub, ScrubbedPlace, ScrubReport, read_report, write_report
from workers.journal.segment_writer import SegmentWriter
from workers.journal.segments import read_frames, segments_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two closed segments and one in use."""
    for number in range(3):
        writer = SegmentWriter(tmp_path)
        append(writer, *job("acme", number), intent("acme", 10 + number), *events_of("acme").values())
        writer.abandon()
    return tmp_path


def scrubbed(folder: Path, step_bytes: int = 1 << 30) -> Scrub:
    files = segments_of(folder) if folder.exists() else []
    scrub = Scrub(folder, in_use=files[-1].name if files else "")
    while scrub.read(step_bytes):
        pass
    return scrub


def test_a_sound_log_has_no_damage(log: Path) -> None:
    """All closed segments are read, in steps of any size; the one in use is not."""
    first, second, present = segments_of(log)
    for step_bytes in (1, 500, 1 << 30):
        scrub = scrubbed(log, step_bytes)
        assert (scrub.damage, scrub.names, scrub.unread) == ([], {first.name, second.name}, {present.name})
        assert scrub.size_bytes == first.stat().st_size + second.stat().st_size


def test_a_step_reads_about_as_many_bytes_as_it_may(log: Path) -> None:
    """A pause after each keeps the scrubber out of the way."""
    scrub, read_bytes = Scrub(log, in_use=""), [0]
    while scrub.read(100):
        read_bytes.append(scrub.size_bytes)
    assert len(read_bytes) > 10
    assert all(later - before < 100 + 2000 for before, later in pairwise(read_bytes))


def test_each_flipped_bit_of_a_closed_segment_is_found_and_named(log: Path) -> None:
    """By segment and offset of the frame; nothing is found in the other segments."""
    _, second, _ = segments_of(log)
    whole = second.read_bytes()
    seed = random.randrange(2**32)
    for place in random.Random(seed).sample(range(len(whole)), 150):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        second.write_bytes(damaged)
        found = scrubbed(log).damage
        assert found, f"seed {seed}, byte {place}"
        assert {each.segment for each in found} == {second.name}
        assert found[0].offset <= place < found[-1].offset + found[-1].size_bytes, (
            f"seed {seed}, byte {place}"
        )


def test_a_segment_that_was_cut_is_damaged(log: Path) -> None:
    """The next one says how many bytes of it were acknowledged only within a process; its frames end in the middle here."""
    writer = SegmentWriter(log)
    append(writer, *job("acme", 20))
    writer.abandon()
    append(writer, *job("acme", 21))
    cut = segments_of(log)[-2]
    cut.write_bytes(cut.read_bytes()[:-3])
    assert {found.segment for found in scrubbed(log).damage} == {cut.name}


def test_a_sector_that_cannot_be_read_is_damage(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the last frame that could be read to the end of the segment; the others are read nevertheless."""
    first, second, _ = segments_of(log)

    def fails(file: Path, damage: list[Damage], *, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        frames = read_frames(file, damage, end=end)
        if file.name == first.name:
            yield next(frames)
            raise OSError(errno.EIO, "Input/output error")
        yield from frames

    monkeypatch.setattr(module, "read_frames", fails)
    scrub = scrubbed(log)
    (found,) = scrub.damage
    assert found.segment == first.name
    assert found.offset == next(read_frames(first, []))[0]
    assert found.offset + found.size_bytes == first.stat().st_size
    assert scrub.names == {first.name, second.name}


def test_a_segment_that_was_removed_meanwhile_is_no_damage(log: Path) -> None:
    scrub = Scrub(log, in_use=segments_of(log)[-1].name)
    for file in segments_of(log)[:-1]:
        file.unlink()
    assert scrub.read(1 << 30) is False
    assert scrub.damage == []


def test_an_empty_log_is_scrubbed(tmp_path: Path) -> None:
    assert scrubbed(tmp_path / "wal").names == set()


async def test_a_damaged_place_counts_once_and_until_it_is_restored(tmp_path: Path) -> None:
    """Found at the start and by the scrubber; that of the segment in use stays, since it was not read again."""
    wal = WriteAheadLog(tmp_path)
    old, present = Damage("000000000001.wal", 8, 10), Damage("000000000002.wal", 8, 10)
    wal.found_damage([old, present])
    wal.found_damage([old])
    assert wal.damaged == 2
    wal.scrubbed({present.segment}, [old])
    assert wal.damaged == 2
    wal.scrubbed({present.segment}, [])
    assert wal.damaged == 1
    await wal.close()


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = ScrubReport(
        began_at=1.0,
        ended_at=None,
        segments=2,
        size_bytes=3,
        damage=(ScrubbedPlace(segment="000000000001.wal", offset=8, size_bytes=10),),
    )
    assert read_report(tmp_path) is None
    write_report(tmp_path, report)
    assert read_report(tmp_path) == report


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{" * 5000, bytes(2 * 1024 * 1024)])
def test_a_file_that_is_no_report_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "scrub").write_bytes(data)
    assert read_report(tmp_path) is None


def test_before_the_first_append_every_segment_is_closed(log: Path) -> None:
    """The last one is of a former process: a start begins a new one with its first record, which may be much later."""
    scrub = Scrub(log, in_use=WriteAheadLog(log).in_use)
    assert scrub.read(1 << 30) is False
    assert scrub.names == {file.name for file in segments_of(log)}


async def test_the_log_says_which_segment_is_in_use(tmp_path: Path) -> None:
    wal = WriteAheadLog(tmp_path)
    assert wal.in_use == ""
    await wal.append(job("acme", 1))
    assert wal.in_use == segments_of(tmp_path)[-1].name
    await wal.close()
    assert wal.in_use == ""
