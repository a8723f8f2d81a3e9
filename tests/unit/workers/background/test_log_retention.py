"""Deletion of old segments: at the start, at an interval, whatever the disk says."""

from __future__ import annotations

import asyncio
import errno
from typing import cast

import pytest

from tests.support.fakes.configurations import current_config
from workers.background import log_retention as module
from workers.background.log_retention import LogRetention
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
