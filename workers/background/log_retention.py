"""Deletes segments of the log that are older than ``log.keep_days``, and that the record has, where there is one."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from workers.record.folder import sealed_below

if TYPE_CHECKING:
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog

log = logging.getLogger("sigmill.service")

TIDY_S: Final = 3600.0
"""Time between two searches for old segments."""


class LogRetention:
    """Tidies the log of one worker at the start and once an hour."""

    def __init__(self, config: CurrentConfig, wal: WriteAheadLog) -> None:
        self._state_dir = config.service.state_dir
        self._sealed = config.service.record.enabled
        self._keep_s = config.service.log.keep_days * 86400
        self._wal = wal

    async def run(self) -> None:
        """Tidy until cancelled; errors of the disk are logged and retried."""
        while True:
            try:
                below = await asyncio.to_thread(sealed_below, self._state_dir) if self._sealed else None
                await self._wal.tidy(self._keep_s, below=below)
            except OSError as error:
                log.warning("log.not_tidied", extra={"why": str(error)})
            await asyncio.sleep(TIDY_S)
