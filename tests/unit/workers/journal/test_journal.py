"""Appending to the write-ahead log: durable on return, many appends by one sync, failing with the disk."""

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
from tests.support.waiting import turn
from workers.journal import journal as log_module
from workers.journal import segment_writer
from workers.journal.journal import WriteAheadLog
from workers.journal.records import OpenedRecord, Record, ReleasedRecord, decode_record, encode_record
from workers.journal.segments import frame, read_segment, segments_of


def record(number: int) -> Record:
    return ReleasedRecord(number, "acme", b"job", b"lease", "committed")


def numbers(folder: Path) -> list[int]:
    """Times of the records in the log, read as recovery reads it."""
    records = [decode_record(raw) for file in segments_of(folder) for raw in read_segment(file)]
    return [found.at_ms for found in records if not isinstance(found, OpenedRecord)]


class Disk:
    """Replacement of fdatasync that counts syncs, delays them and makes them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.open = threading.Event()
        self.open.set()
        self.syncing = threading.Event()
        self.broken: int | None = None
        self._sync = os.fdatasync
        monkeypatch.setattr("workers.journal.segment_writer.os.fdatasync", self.fdatasync)

    def fdatasync(self, descriptor: int) -> None:
        self.syncing.set()
        self.open.wait(10)
        self.syncs += 1
        if self.broken is not None:
            raise OSError(self.broken, os.strerror(self.broken))
        self._sync(descriptor)


class Histogram:
    """Timer that keeps what it observes."""

    def __init__(self) -> None:
        self.observed: list[float] = []

    def observe(self, seconds: float) -> None:
        self.observed.append(seconds)


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


async def test_appended_records_are_on_the_disk(wal: WriteAheadLog, disk: Disk, tmp_path: Path) -> None:
    """An append returns after one sync, and its records are in the segment."""
    await wal.append([record(1), record(2)])
    assert disk.syncs == 1
    assert numbers(tmp_path / "wal") == [1, 2]


async def test_append_waits_for_the_sync(wal: WriteAheadLog, disk: Disk) -> None:
    """An append whose data is written but not synced has not returned."""
    disk.open.clear()
    appending = asyncio.ensure_future(wal.append([record(1)]))
    await turn()
    assert not appending.done()
    disk.open.set()
    await appending


async def test_appends_that_come_during_a_sync_share_the_next(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """One append is being synced, 199 wait: they take one more sync, and their order is kept."""
    disk.open.clear()
    first = asyncio.ensure_future(wal.append([record(0)]))
    assert await asyncio.to_thread(disk.syncing.wait, 10)
    later = [asyncio.ensure_future(wal.append([record(n)])) for n in range(1, 200)]
    await turn()
    disk.open.set()
    await asyncio.gather(first, *later)
    assert disk.syncs == 2
    assert numbers(tmp_path / "wal") == list(range(200))


async def test_a_record_without_a_waiter_is_written_with_the_next_append(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """``append_nowait`` costs no sync of its own, and its record comes first."""
    wal.append_nowait([record(1)])
    assert disk.syncs == 0
    await wal.append([record(2)])
    assert (disk.syncs, numbers(tmp_path / "wal")) == (1, [1, 2])


async def test_closing_writes_the_records_without_a_waiter(tmp_path: Path) -> None:
    """A log that is closed has written the records of ``append_nowait``."""
    wal = WriteAheadLog(tmp_path / "wal")
    wal.append_nowait([record(1)])
    await wal.close()
    assert numbers(tmp_path / "wal") == [1]


async def test_a_failed_sync_fails_every_waiting_append(wal: WriteAheadLog, disk: Disk) -> None:
    """All appends of the group raise ``LogUnavailable``, which is retryable."""
    disk.broken = errno.EIO
    results = await asyncio.gather(*(wal.append([record(n)]) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LogUnavailable] * 3
    assert wal.failing
    assert LogUnavailable.retryable


async def test_after_a_failed_sync_the_segment_is_abandoned(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """The next append goes to a new segment: a second fsync of the old one would hide lost pages (fsyncgate)."""
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
    """Each try begins a segment; a segment in which nothing was acknowledged is removed."""
    disk.broken = errno.ENOSPC
    for _ in range(20):
        with pytest.raises(LogUnavailable):
            await wal.append([record(1)])
    disk.broken = None
    await wal.append([record(2)])
    assert len(segments_of(tmp_path / "wal")) == 1
    assert numbers(tmp_path / "wal") == [2]


async def test_a_folder_that_cannot_be_made_is_a_failing_log(tmp_path: Path) -> None:
    """The log works as soon as the file in the folder's place is removed."""
    (tmp_path / "wal").touch()
    wal = WriteAheadLog(tmp_path / "wal")
    with pytest.raises(LogUnavailable):
        await wal.append([record(1)])
    (tmp_path / "wal").unlink()
    await wal.append([record(2)])
    await wal.close()
    assert numbers(tmp_path / "wal") == [2]


@pytest.mark.parametrize("turns", [1, 20])
async def test_a_cancelled_append_does_not_disturb_the_others(
    wal: WriteAheadLog, disk: Disk, turns: int
) -> None:
    """One append of a group is cancelled, before the group is written or meanwhile; the other one succeeds."""
    disk.open.clear()
    given_up = asyncio.ensure_future(wal.append([record(1)]))
    patient = asyncio.ensure_future(wal.append([record(2)]))
    await turn(turns)
    given_up.cancel()
    disk.open.set()
    await patient
    with pytest.raises(asyncio.CancelledError):
        await given_up


async def test_a_full_segment_is_followed_by_the_next(
    wal: WriteAheadLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three records fill three segments; their files have mode 0600."""
    monkeypatch.setattr(segment_writer, "SEGMENT_BYTES", 10)
    for number in range(3):
        await wal.append([record(number)])
    files = segments_of(tmp_path / "wal")
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert numbers(tmp_path / "wal") == [0, 1, 2]


async def test_a_new_process_begins_a_new_segment(wal: WriteAheadLog, tmp_path: Path) -> None:
    """A second process appends to a new segment: the tail of the old one may be torn."""
    await wal.append([record(1)])
    again = WriteAheadLog(tmp_path / "wal")
    await again.append([record(2)])
    await again.close()
    assert len(segments_of(tmp_path / "wal")) == 2


async def test_the_lag_is_that_of_the_oldest_record_which_is_not_on_the_disk(
    wal: WriteAheadLog, disk: Disk
) -> None:
    """It grows while an append waits for the disk, also when another one comes, and is 0 otherwise."""
    assert wal.lag_s == 0
    disk.open.clear()
    waiting = [asyncio.ensure_future(wal.append([record(i)])) for i in range(2)]
    await turn()
    first = wal.lag_s
    assert first > 0
    waiting.append(asyncio.ensure_future(wal.append([record(2)])))
    await turn()
    assert wal.lag_s > first
    disk.open.set()
    await asyncio.gather(*waiting)
    assert wal.lag_s == 0


async def test_syncs_are_measured(tmp_path: Path) -> None:
    """The timer observes each sync once."""
    timer = Histogram()
    wal = WriteAheadLog(tmp_path / "wal", sync_timer=timer)
    await wal.append([record(1)])
    assert len(timer.observed) == 1
    await wal.append([record(2)])
    await wal.close()
    assert len(timer.observed) == 2
    assert min(timer.observed) > 0


async def test_a_record_without_a_waiter_is_written_when_no_append_follows(
    wal: WriteAheadLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timer of ``append_nowait`` writes the record without another append."""
    monkeypatch.setattr(log_module, "NOWAIT_DELAY_S", 0.0)
    wal.append_nowait([record(1)])
    while not numbers(tmp_path / "wal"):
        await turn(1)
    assert numbers(tmp_path / "wal") == [1]


async def test_records_without_a_waiter_survive_a_failed_write(
    wal: WriteAheadLog, disk: Disk, tmp_path: Path
) -> None:
    """They are written before the next append, in their order: no requeued job counts as lost."""
    disk.broken = errno.ENOSPC
    wal.append_nowait([record(1), record(2)])
    with pytest.raises(LogUnavailable):
        await wal.append([record(3)])
    wal.append_nowait([record(4)])
    disk.broken = None
    await wal.append([record(5)])
    assert numbers(tmp_path / "wal") == [1, 2, 4, 5]


async def test_a_probe_finds_out_that_the_disk_works_again(wal: WriteAheadLog, disk: Disk) -> None:
    """A probe fails while the disk does, and clears ``failing`` when it works; no job is needed."""
    disk.broken = errno.EIO
    with pytest.raises(LogUnavailable):
        await wal.probe()
    assert wal.failing
    disk.broken = None
    await wal.probe()
    assert not wal.failing


async def test_the_size_of_the_folder_is_known(wal: WriteAheadLog, tmp_path: Path) -> None:
    """The size counted while appending equals the size of the segments on disk."""
    for number in range(3):
        await wal.append([record(number)])
    counted = wal.bytes
    await wal.measure()
    assert counted == wal.bytes == sum(file.stat().st_size for file in segments_of(tmp_path / "wal")) > 0


async def test_a_write_behind_the_measurement_is_counted(wal: WriteAheadLog, tmp_path: Path) -> None:
    """It comes before the loop has the answer of the measurement, which does not know of it."""
    await wal.append([record(1)])
    measuring = asyncio.ensure_future(wal.measure())
    await turn(1)
    later = record(2)
    wal._thread.submit(wal._append, frame(encode_record(later)), [later]).result()
    assert not measuring.done()
    await measuring
    assert wal.bytes == sum(file.stat().st_size for file in segments_of(tmp_path / "wal"))


async def test_a_closed_log_refuses_appends(tmp_path: Path) -> None:
    """An append to a closed log raises ``LogUnavailable`` at once."""
    wal = WriteAheadLog(tmp_path / "wal")
    await wal.close()
    with pytest.raises(LogUnavailable):
        await wal.append([record(1)])


async def test_an_unexpected_error_of_the_writer_fails_the_append(
    wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that is not an ``OSError`` raises ``LogUnavailable``, too, and sets ``failing``."""
    monkeypatch.setattr(segment_writer.SegmentWriter, "append", lambda *_: 1 / 0)
    with pytest.raises(LogUnavailable):
        await wal.append([record(1)])
    assert wal.failing


class Usage:
    """Bytes of each tenant."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def log_written(self, tenant: str, size_bytes: int) -> None:
        self.of[tenant] = self.of.get(tenant, 0) + size_bytes


async def test_bytes_are_counted_for_the_tenant_that_writes_them(tmp_path: Path) -> None:
    """Bytes of the log are counted by tenant: frames of its records, without the log's own."""
    usage = Usage()
    wal = WriteAheadLog(tmp_path, usage=usage)
    await wal.append([ReleasedRecord(1, "acme", b"a" * 1000, b"w:1", "committed")])
    wal.append_nowait([ReleasedRecord(1, "globex", b"b", b"w:1", "committed")])
    await wal.append([ReleasedRecord(1, "globex", b"c", b"w:1", "committed")])
    await wal.close()
    assert usage.of["acme"] > 1000
    assert usage.of["globex"] < 200
    opened = len(frame(encode_record(OpenedRecord(int(1.7e12), 1))))
    assert abs(sum(usage.of.values()) + opened - wal.bytes) <= 8


async def test_bytes_that_the_disk_did_not_take_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record without a waiter is counted once, when it is written."""
    usage = Usage()
    wal = WriteAheadLog(tmp_path, usage=usage)
    with monkeypatch.context() as failing:
        failing.setattr(segment_writer.SegmentWriter, "append", lambda *_: 1 / 0)
        wal.append_nowait([ReleasedRecord(1, "globex", b"b", b"w:1", "committed")])
        with pytest.raises(LogUnavailable):
            await wal.append([ReleasedRecord(1, "acme", b"a", b"w:1", "committed")])
    assert usage.of == {}
    await wal.append([])
    await wal.close()
    assert [*usage.of] == ["globex"]
    assert usage.of["globex"] < 200
