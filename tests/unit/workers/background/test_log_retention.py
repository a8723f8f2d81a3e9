"""Deletion of old segments: at the start, at an interval, whatever the disk says."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from pathlib import Path
from typing import cast

import pytest

from tests.support.fakes.configurations import configuration, current_config
from workers.background import log_retention as module
from workers.background.log_retention import LogRetention
from workers.config.settings import RecordSettings
from workers.current_config import CurrentConfig
from workers.journal.journal import WriteAheadLog


class Log:
    """Counts how often it is tidied; the first time the disk fails."""

    def __init__(self) -> None:
        self.kept_s: list[float] = []
        self.twice = asyncio.Event()

    async def tidy(self, keep_s: float, *, below: int | None = None) -> int:
        self.kept_s.append(keep_s)
        if len(self.kept_s) == 1:
            raise OSError(errno.EIO, "Input/output error")
        self.twice.set()
        return 0


class SealedLog:
    """Notes the first segment that must stay."""

    def __init__(self) -> None:
        self.below: list[int | None] = []
        self.tidied = asyncio.Event()

    async def tidy(self, keep_s: float, *, below: int | None = None) -> int:
        self.below.append(below)
        self.tidied.set()
        return 0


async def test_with_a_record_no_segment_is_removed_before_it_is_sealed(tmp_path: Path) -> None:
    """As long as nobody knows what is sealed, nothing is."""
    made = configuration(state_dir=tmp_path)
    service = dataclasses.replace(made.service, record=RecordSettings(enabled=True))
    log = SealedLog()
    config = CurrentConfig(dataclasses.replace(made, service=service))
    running = asyncio.ensure_future(LogRetention(config, cast("WriteAheadLog", log)).run())
    async with asyncio.timeout(10):
        await log.tidied.wait()
    running.cancel()
    await asyncio.wait({running})
    assert log.below == [0]


async def test_a_disk_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, and segments are kept for ``log.keep_days``."""
    monkeypatch.setattr(module, "TIDY_S", 0.0)
    log, config = Log(), current_config()
    running = asyncio.ensure_future(LogRetention(config, cast("WriteAheadLog", log)).run())
    async with asyncio.timeout(10):
        await log.twice.wait()
    running.cancel()
    await asyncio.wait({running})
    assert log.kept_s[:2] == [config.service.log.keep_days * 86400] * 2
    assert [record.getMessage() for record in caplog.records] == ["log.not_tidied"]
