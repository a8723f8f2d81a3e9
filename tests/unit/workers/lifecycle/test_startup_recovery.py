"""Recovery at the start: the log of the former process is read, and its open intents are closed."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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

    def broken_at_first(place: Path) -> Recovered:
        failing.append(wal.failing)
        if len(failing) < 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
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

    def counted(place: Path) -> Recovered:
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

    def broken(_: Path) -> Recovered:
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
