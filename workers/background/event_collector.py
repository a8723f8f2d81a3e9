"""Takes the events of commands from their spool into the write-ahead log, of which this worker is the one writer."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.errors import LogUnavailable
from workers.journal.event_spool import EventSpool

if TYPE_CHECKING:
    from pathlib import Path

    from workers.current_config import CurrentConfig
    from workers.journal.event_spool import SpooledEvents
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
        self._collected: set[Path] = set()

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
        """Collect what waits now, in its order. Raises ``LogUnavailable``, or ``OSError`` at the end: what was not collected still waits.

        A file that cannot be read, renamed or removed holds up no other, and its events are appended once.
        """
        failure: OSError | None = None
        waiting = await asyncio.to_thread(self._spool.waiting)
        self._collected &= {events.path for events in waiting}
        for events in waiting:
            try:
                await self._collect(events)
            except OSError as error:
                failure = error
        if failure is not None:
            raise failure

    async def _collect(self, events: SpooledEvents) -> None:
        if events.error is not None:
            raise events.error
        if not events.records:
            await asyncio.to_thread(self._spool.refuse, events)
            log.error("events.unreadable", extra={"file": str(events.path)})
            return
        if events.path not in self._collected:
            await self._wal.append(events.records)
            self._collected.add(events.path)
        await asyncio.to_thread(self._spool.remove, events)
        self._collected.discard(events.path)
