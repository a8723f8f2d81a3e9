"""Takes the events of commands from their spool into the write-ahead log, of which this worker is the one writer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.errors import LogUnavailable
from workers.journal.event_spool import EventSpool

if TYPE_CHECKING:
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog

log = logging.getLogger("sigmill.log")

INTERVAL_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


class EventCollector:
    """Appends each waiting event, and removes its file once it is durable."""

    def __init__(self, config: CurrentConfig, wal: WriteAheadLog) -> None:
        self._spool = EventSpool(config.service.state_dir)
        self._wal = wal
        self._why = ""

    async def run(self) -> None:
        """Collect until cancelled; what fails is tried again, up to a minute later."""
        backoff = Backoff(first_s=INTERVAL_S, most_s=LONGEST_PAUSE_S)
        while True:
            try:
                await self.collect()
            except (LogUnavailable, OSError) as error:
                if self._why != str(error):
                    self._why = str(error)
                    log.error("events.not_collected", extra={"why": self._why})
                await asyncio.sleep(backoff.next_s())
            else:
                self._why = ""
                backoff.reset()
                await asyncio.sleep(INTERVAL_S)

    async def collect(self) -> None:
        """Collect what waits now, in its order. Raises ``LogUnavailable`` or ``OSError``: what was not collected still waits."""
        failure: OSError | None = None
        for events in await asyncio.to_thread(self._spool.waiting):
            if events.error is not None:
                failure = events.error
            elif not events.records:
                log.error("events.unreadable", extra={"file": str(events.path)})
                await asyncio.to_thread(self._spool.refuse, events)
            else:
                await self._wal.append(events.records)
                await asyncio.to_thread(self._spool.remove, events)
        if failure is not None:
            raise failure
