"""Recovery at the start: the log of the former process is read, and its open intents are closed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.farm.lost_sectors import lose
from workers.journal.journal import WriteAheadLog
from workers.journal.records import (
    IntentRecord,
    OpenedRecord,
    OutcomeRecord,
    Record,
    UnknownRecord,
    decode_record,
    encode_record,
)
from workers.journal.recovery import Recovered, recover
from workers.journal.segments import frame, read_segment, segment_path, segments_of
from workers.journal.unreadable_places import GIVE_UP_S, LEAST_TRIES
from workers.lifecycle import startup_recovery as module
from workers.lifecycle.startup_recovery import recover_journal

OUTCOME = OutcomeRecord(1, "acme", b"signed", b"old:1", "", b"result")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The log of a process that died with one job signed and one in the HSM."""
    lost = IntentRecord(1, "acme", b"lost", b"old:1", 1, b"sealed")
    signed = IntentRecord(1, "acme", b"signed", b"old:1", 1, b"sealed")
    records: list[Record] = [OpenedRecord(1, 1), lost, signed, OUTCOME]
    segment_path(tmp_path, 1).write_bytes(b"".join(frame(encode_record(record)) for record in records))
    return tmp_path


@pytest.fixture
async def wal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WriteAheadLog]:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)
    made = WriteAheadLog(folder)
    yield made
    await made.close()


def written(folder: Path) -> list[Record]:
    return [decode_record(raw) for raw in read_segment(segments_of(folder)[-1])]


async def test_open_intents_are_closed_and_outcomes_returned(folder: Path, wal: WriteAheadLog) -> None:
    """Both are durable by this process: the former one may not have synced its last records."""
    assert await recover_journal(folder, wal, stop=asyncio.Event()) == [OUTCOME]
    opened, unknown, outcome = written(folder)
    assert isinstance(opened, OpenedRecord)
    assert opened.first_open == 1
    assert isinstance(unknown, UnknownRecord)
    assert unknown.job_id == b"lost"
    assert outcome == OUTCOME
    assert wal.bytes == sum(file.stat().st_size for file in segments_of(folder))


async def test_a_log_that_cannot_be_read_is_tried_again(
    folder: Path, wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed meanwhile: jobs in it would be signed again."""
    failing: list[bool] = []

    def broken_at_first(place: Path, **_: object) -> Recovered:
        failing.append(wal.failing)
        if len(failing) < 3:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return recover(place)

    monkeypatch.setattr(module, "recover", broken_at_first)
    assert await recover_journal(folder, wal, stop=asyncio.Event()) == [OUTCOME]
    assert failing == [False, True, True]
    assert not wal.failing


async def test_a_log_that_cannot_be_written_is_tried_again(
    folder: Path, wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once."""
    sync, tries = os.fdatasync, 0
    read: list[Path] = []

    def counted(place: Path, **_: object) -> Recovered:
        read.append(place)
        return recover(place)

    def full_at_first(descriptor: int) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(module, "recover", counted)
    monkeypatch.setattr(os, "fdatasync", full_at_first)
    assert await recover_journal(folder, wal, stop=asyncio.Event()) == [OUTCOME]
    assert (tries >= 3, read) == (True, [folder])
    assert [type(record) for record in written(folder)] == [OpenedRecord, UnknownRecord, OutcomeRecord]


async def test_a_shutdown_does_not_wait_for_the_disk(
    folder: Path, wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has claimed nothing that it could return."""
    stop = asyncio.Event()

    def broken(_: Path, **__: object) -> Recovered:
        stop.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(module, "recover", broken)
    assert await recover_journal(folder, wal, stop=stop) == []


async def test_a_first_start_writes_nothing(tmp_path: Path) -> None:
    """There is no former process."""
    wal = WriteAheadLog(tmp_path / "wal")
    assert await recover_journal(tmp_path / "wal", wal, stop=asyncio.Event()) == []
    await wal.close()
    assert not (tmp_path / "wal").exists()


async def test_damage_is_logged_with_segment_and_offset(
    folder: Path, wal: WriteAheadLog, caplog: pytest.LogCaptureFixture
) -> None:
    """The claims behind it are found; the number of damaged places is exported."""
    file = segment_path(folder, 1)
    raw = bytearray(file.read_bytes())
    raw[10] ^= 0xFF  # in the first record
    file.write_bytes(raw)
    assert await recover_journal(folder, wal, stop=asyncio.Event()) == [OUTCOME]
    (line,) = [record for record in caplog.records if record.msg == "log.damaged"]
    assert (line.segment, line.offset, line.levelname) == (file.name, 0, "ERROR")  # type: ignore[attr-defined]
    assert wal.damaged == 1


class Minutes:
    """Clock of which each look is a minute and a half later."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks * 90.0


async def test_a_place_that_the_disk_does_not_give_is_passed_as_damage_after_ten_minutes(
    folder: Path, wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost sector stays lost; the worker would otherwise sign nothing for ever. What is behind it is found."""
    first = len(frame(encode_record(OpenedRecord(1, 1))))
    lost = IntentRecord(1, "acme", b"lost", b"old:1", 1, b"s" * 8192)
    file = segment_path(folder, 1)
    raw = file.read_bytes()
    head, rest = raw[:first], raw[first:]
    file.write_bytes(head + frame(encode_record(lost)) + rest)
    lose(monkeypatch, file, range(4096, 8192))
    clock = Minutes()
    assert await recover_journal(folder, wal, stop=asyncio.Event(), clock_s=clock.monotonic) == [OUTCOME]
    assert clock.looks >= max(LEAST_TRIES, GIVE_UP_S / 90)
    (waits,) = [record for record in caplog.records if record.msg == "recovery.unreadable"]
    assert (waits.segment, waits.offset, waits.errno) == (1, first, errno.EIO)  # type: ignore[attr-defined]
    (passed,) = [record for record in caplog.records if record.msg == "log.damaged"]
    assert (passed.segment, passed.offset) == (file.name, first)  # type: ignore[attr-defined]
    assert (wal.damaged, wal.failing) == (1, False)


async def test_a_place_that_the_disk_gives_again_is_no_damage(
    folder: Path, wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is away comes back; until then the worker is not ready."""
    failing: list[bool] = []

    def away_at_first(place: Path, **more: Any) -> Recovered:
        failing.append(wal.failing)
        with pytest.MonkeyPatch.context() as patch:
            if len(failing) < 3:
                lose(patch, segment_path(folder, 1), range(4096))
            return recover(place, **more)

    monkeypatch.setattr(module, "recover", away_at_first)
    assert await recover_journal(folder, wal, stop=asyncio.Event()) == [OUTCOME]
    assert failing == [False, True, True]
    assert wal.damaged == 0


async def test_an_old_segment_that_cannot_be_read_stops_no_start(
    folder: Path, wal: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No claim in it is open; the scrubber tells of it."""
    segment_path(folder, 2).write_bytes(frame(encode_record(OpenedRecord(2, 2))))
    lose(monkeypatch, segment_path(folder, 1), range(4096))
    assert await recover_journal(folder, wal, stop=asyncio.Event()) == []
