"""Collector of events: durable in the log before their file goes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from queueing.errors import LogUnavailable
from tests.support.fakes.configurations import configuration
from workers.background import event_collector as module
from workers.background.event_collector import EventCollector
from workers.current_config import CurrentConfig
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.journal.journal import WriteAheadLog
from workers.journal.records import Record


class Log:
    """Notes what is appended, and how many files waited then; fails so many times."""

    def __init__(self, spool: EventSpool, failures: int = 0) -> None:
        self._spool = spool
        self._failures = failures
        self.appended: list[Record] = []
        self.waited: list[int] = []
        self.twice = asyncio.Event()

    async def append(self, records: Sequence[Record]) -> None:
        if self._failures:
            self._failures -= 1
            raise LogUnavailable("no space left on device")
        self.appended += records
        self.waited.append(len(self._spool))
        if len(self.appended) == 2:
            self.twice.set()


def collector(state_dir: Path, wal: Log) -> EventCollector:
    config = CurrentConfig(configuration(state_dir=state_dir))
    return EventCollector(config, cast("WriteAheadLog", wal))


def key_event(number: int) -> KeyRecord:
    return KeyRecord(number, "acme", "created", "release", number)


async def test_a_file_goes_when_its_event_is_in_the_log(tmp_path: Path) -> None:
    """A crash in between puts it into the log twice, and never loses it."""
    spool = EventSpool(tmp_path)
    for number in (1, 2):
        spool.put(key_event(number))
    wal = Log(spool)
    await collector(tmp_path, wal).collect()
    assert wal.appended == [key_event(1), key_event(2)]
    assert wal.waited == [2, 1]
    assert len(spool) == 0


async def test_an_event_waits_while_the_log_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged once."""
    monkeypatch.setattr(module, "INTERVAL_S", 0.0)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.0)
    spool = EventSpool(tmp_path)
    for number in (1, 2):
        spool.put(key_event(number))
    wal = Log(spool, failures=3)
    running = asyncio.ensure_future(collector(tmp_path, wal).run())
    async with asyncio.timeout(10):
        await wal.twice.wait()
    running.cancel()
    assert wal.appended == [key_event(1), key_event(2)]
    assert [record.message for record in caplog.records] == ["events.not_collected"]


async def test_a_file_that_is_no_event_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = EventSpool(tmp_path)
    spool.put(key_event(1))
    (tmp_path / "events" / "0.event").write_bytes(b"no event")
    wal = Log(spool)
    await collector(tmp_path, wal).collect()
    assert wal.appended == [key_event(1)]
    assert [record.message for record in caplog.records] == ["events.unreadable"]


async def test_a_file_that_can_be_neither_read_nor_renamed_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = EventSpool(tmp_path)
    spool.put(key_event(1))
    (tmp_path / "events" / "0.event").mkdir()
    (tmp_path / "events" / "0.unreadable").write_bytes(b"")
    wal = Log(spool)
    with pytest.raises(OSError, match="Not a directory"):
        await collector(tmp_path, wal).collect()
    assert wal.appended == [key_event(1)]
    assert caplog.records == []


async def test_an_event_whose_file_cannot_be_removed_is_appended_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each round would add it to the log, and those behind it would wait for ever."""
    spool = EventSpool(tmp_path)
    for number in (1, 2):
        spool.put(key_event(number))
    wal = Log(spool)
    collecting = collector(tmp_path, wal)

    def read_only(_: EventSpool, events: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as disk:
        disk.setattr(EventSpool, "remove", read_only)
        for _ in range(3):
            with pytest.raises(OSError, match="Permission denied"):
                await collecting.collect()
    await collecting.collect()
    assert wal.appended == [key_event(1), key_event(2)]
    assert len(spool) == 0
