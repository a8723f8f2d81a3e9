"""Appending: durable when it returns, many by one sync, and closed when the disk fails."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from queueing.errors import LogUnavailable
from tests.support.fake_lane import turn
from workers.journal import journal as log_module
from workers.journal import segment_writer
from workers.journal.journal import WriteAheadLog
from workers.journal.records import OpenedRecord, Record, ReleasedRecord, decode_record
from workers.journal.segments import read_segment, segments_of


def record(number: int) -> Record:
    return ReleasedRecord(number, "acme", b"job", b"lease", "committed")


def numbers(folder: Path) -> list[int]:
    """What is in the log, read as recovery reads it."""
    records = [decode_record(raw) for file in segments_of(folder) for raw in read_segment(file)]
    return [found.at_ms for found in records if not isinstance(found, OpenedRecord)]


class Disk:
    """Stands between the log and the disk: counts syncs, holds them, lets them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.open = threading.Event()
        self.open.set()
        self.broken: int | None = None
        self._sync = os.fdatasync
        monkeypatch.setattr("workers.journal.segment_writer.os.fdatasync", self.fdatasync)

    def fdatasync(self, descriptor: int) -> None:
        self.open.wait(10)
        self.syncs += 1
        if self.broken is not None:
            raise OSError(self.broken, os.strerror(self.broken))
        self._sync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
async def wal(tmp_path: Path, disk: Disk) -> AsyncIterator[WriteAheadLog]:
    made = WriteAheadLog(tmp_path / "wal")
    yield made
    disk.open.set()
    disk.broken = None
    await made.close()


async def test_what_was_appended_is_on_the_disk(wal: WriteAheadLog, disk: Disk, tmp_path: Path) -> None:
    """When append returns, and after a sync."""
    await wal.append([record(1), record(2)])
    assert disk.syncs == 1
    assert numbers(tmp_path / "wal") == [1, 2]


async def test_append_waits_for_the_sync(wal: WriteAheadLog, disk: Disk) -> None:
    """Written is not durable."""
    disk.open.clear()
    appending = asyncio.ensure_future(wal.append([record(1)]))
    await turn()
    assert not appending.done()
    disk.open.set()
    await appending


async def test_appends_that_come_during_a_sync_share_the_next(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """A hundred callers, two syncs; and their order is kept."""
    disk.open.clear()
    appends = [asyncio.ensure_future(wal.append([record(n)])) for n in range(100)]
    await asyncio.sleep(0)
    later = [asyncio.ensure_future(wal.append([record(n)])) for n in range(100, 200)]
    await asyncio.sleep(0)
    disk.open.set()
    await asyncio.gather(*appends, *later)
    assert disk.syncs <= 3
    assert numbers(tmp_path / "wal") == list(range(200))


async def test_a_note_goes_along_with_the_next_append(wal: WriteAheadLog, disk: Disk, tmp_path: Path) -> None:
    """Nobody waits for it, and it costs no sync of its own."""
    wal.note([record(1)])
    assert disk.syncs == 0
    await wal.append([record(2)])
    assert (disk.syncs, numbers(tmp_path / "wal")) == (1, [1, 2])


async def test_closing_writes_what_was_noted(tmp_path: Path) -> None:
    """An orderly end loses nothing."""
    wal = WriteAheadLog(tmp_path / "wal")
    wal.note([record(1)])
    await wal.close()
    assert numbers(tmp_path / "wal") == [1]


async def test_a_failed_sync_is_told_to_everyone_who_waited(wal: WriteAheadLog, disk: Disk) -> None:
    """Their records are not durable; it can be asked again."""
    disk.broken = errno.EIO
    results = await asyncio.gather(*(wal.append([record(n)]) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LogUnavailable] * 3
    assert wal.failing
    assert LogUnavailable.retryable


async def test_after_a_failed_sync_the_segment_is_abandoned(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """A second sync of the same file would say OK to pages that are lost (fsyncgate)."""
    await wal.append([record(1)])
    disk.broken = errno.EIO
    with pytest.raises(LogUnavailable):
        await wal.append([record(2)])
    disk.broken = None
    await wal.append([record(3)])
    first, second = segments_of(tmp_path / "wal")
    assert [decode_record(raw).at_ms for raw in read_segment(second)][1:] == [3]
    assert [decode_record(raw).at_ms for raw in read_segment(first)][1] == 1
    assert not wal.failing


async def test_a_long_outage_leaves_no_files_behind(wal: WriteAheadLog, disk: Disk, tmp_path: Path) -> None:
    """Each try has a segment of its own; one in which nothing was acknowledged is removed."""
    disk.broken = errno.ENOSPC
    for _ in range(20):
        with pytest.raises(LogUnavailable):
            await wal.append([record(1)])
    disk.broken = None
    await wal.append([record(2)])
    assert len(segments_of(tmp_path / "wal")) == 1
    assert numbers(tmp_path / "wal") == [2]


async def test_a_folder_that_cannot_be_made_is_a_failing_log(tmp_path: Path) -> None:
    """And a file in its place can be taken away again."""
    (tmp_path / "wal").touch()
    wal = WriteAheadLog(tmp_path / "wal")
    with pytest.raises(LogUnavailable):
        await wal.append([record(1)])
    (tmp_path / "wal").unlink()
    await wal.append([record(2)])
    await wal.close()
    assert numbers(tmp_path / "wal") == [2]


async def test_who_does_not_wait_any_more_disturbs_nobody(wal: WriteAheadLog, disk: Disk) -> None:
    """A cancelled append is one of a batch."""
    disk.open.clear()
    given_up = asyncio.ensure_future(wal.append([record(1)]))
    patient = asyncio.ensure_future(wal.append([record(2)]))
    await asyncio.sleep(0)
    given_up.cancel()
    disk.open.set()
    await patient
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_a_full_segment_is_followed_by_the_next(
    wal: WriteAheadLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are the owner's alone."""
    monkeypatch.setattr(segment_writer, "SEGMENT_BYTES", 10)
    for number in range(3):
        await wal.append([record(number)])
    files = segments_of(tmp_path / "wal")
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert numbers(tmp_path / "wal") == [0, 1, 2]


async def test_a_new_process_begins_a_new_segment(wal: WriteAheadLog, tmp_path: Path) -> None:
    """Nothing is appended behind what may be torn."""
    await wal.append([record(1)])
    again = WriteAheadLog(tmp_path / "wal")
    await again.append([record(2)])
    await again.close()
    assert len(segments_of(tmp_path / "wal")) == 2


async def test_the_lag_is_that_of_the_oldest_record_which_is_not_on_the_disk(
    wal: WriteAheadLog, disk: Disk
) -> None:
    """None while nothing waits."""
    assert wal.lag_s == 0
    disk.open.clear()
    waiting = [asyncio.ensure_future(wal.append([record(i)])) for i in range(2)]
    await turn()
    first = wal.lag_s
    assert first > 0
    assert wal.lag_s > first
    disk.open.set()
    await asyncio.gather(*waiting)
    assert wal.lag_s == 0


async def test_syncs_are_measured(tmp_path: Path) -> None:
    """In seconds, one for each."""
    seen: list[float] = []
    wal = WriteAheadLog(tmp_path / "wal", synced=seen.append)
    await wal.append([record(1)])
    await wal.close()
    assert len(seen) == 1
    assert 0 <= seen[0] < 10


async def test_a_note_is_written_by_itself_when_nothing_comes(
    wal: WriteAheadLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last release of the evening is on record before the night."""
    monkeypatch.setattr(log_module, "NOTE_DELAY_S", 0.0)
    wal.note([record(1)])
    while not numbers(tmp_path / "wal"):
        await turn(1)
    assert numbers(tmp_path / "wal") == [1]


async def test_notes_that_could_not_be_written_go_along_with_the_next_append(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """Before it, in their order: a job that was returned is not taken for one that was lost."""
    disk.broken = errno.ENOSPC
    wal.note([record(1), record(2)])
    with pytest.raises(LogUnavailable):
        await wal.append([record(3)])
    wal.note([record(4)])
    disk.broken = None
    await wal.append([record(5)])
    assert numbers(tmp_path / "wal") == [1, 2, 4, 5]


async def test_a_probe_finds_out_that_the_disk_is_well(wal: WriteAheadLog, disk: Disk) -> None:
    """Nothing needs to be risked for it."""
    disk.broken = errno.EIO
    with pytest.raises(LogUnavailable):
        await wal.probe()
    assert wal.failing
    disk.broken = None
    await wal.probe()
    assert not wal.failing


async def test_the_size_of_the_folder_is_known(wal: WriteAheadLog, tmp_path: Path) -> None:
    """As it grows, without looking at every file."""
    for number in range(3):
        await wal.append([record(number)])
    counted = wal.bytes
    await wal.measure()
    assert counted == wal.bytes == sum(file.stat().st_size for file in segments_of(tmp_path / "wal")) > 0


async def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    """And says so, rather than never to answer."""
    wal = WriteAheadLog(tmp_path / "wal")
    await wal.close()
    with pytest.raises(LogUnavailable):
        await wal.append([record(1)])


async def test_a_defect_of_the_writer_is_told_to_who_waits(
    wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was, the records are not durable, and nobody waits for ever."""
    monkeypatch.setattr(segment_writer.SegmentWriter, "append", lambda *_: 1 / 0)
    with pytest.raises(LogUnavailable):
        await wal.append([record(1)])
    assert wal.failing
