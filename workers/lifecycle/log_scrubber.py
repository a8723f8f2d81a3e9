"""Scrubs the closed segments of this worker's log, slowly and for ever; damage is logged, counted and reported."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from workers.journal.scrubbing import MOST_PLACES, Scrub, ScrubbedPlace, ScrubReport, write_report

if TYPE_CHECKING:
    from workers.current_config import CurrentConfig
    from workers.journal.damage import Damage
    from workers.journal.journal import WriteAheadLog
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.log")

STEP_BYTES: Final = 64 * 1024
"""Read by one step on a thread: a fraction of a millisecond, for which the event loop may have to wait."""

PAUSE_S: Final = 1 / 64
"""Between two steps: 4 MiB a second, 345 GB a day, for less than a twentieth of a core."""

ROUND_S: Final = 86400.0
"""Least time from the begin of a round to the next one."""

MOST_LOGGED: Final = 20
"""Damaged places of a round with a line of their own."""


class LogScrubber:
    """Reads round after round, and keeps the report of the last one in the state directory for `sigmill audit status`."""

    def __init__(self, config: CurrentConfig, wal: WriteAheadLog, metrics: Metrics) -> None:
        self._state_dir = config.service.state_dir
        self._wal = wal
        self._metrics = metrics

    async def run(self) -> None:
        """Scrub until cancelled; an error of the disk ends a round, not the scrubber."""
        while True:
            began = time.monotonic()
            try:
                await self.scrub()
            except OSError as error:
                log.error("log.not_scrubbed", extra={"why": str(error)})
            await asyncio.sleep(max(began + ROUND_S - time.monotonic(), 1.0))

    async def scrub(self) -> None:
        """One round. Raises ``OSError`` where segments cannot be listed, or the report cannot be written."""
        began_at, told = time.time(), 0
        round_ = await asyncio.to_thread(Scrub, self._wal.folder, in_use=self._wal.in_use)
        more = True
        while more:
            before = round_.size_bytes
            more = await asyncio.to_thread(round_.read, STEP_BYTES)
            self._metrics.log_scrubbed_bytes.inc(round_.size_bytes - before)
            if len(round_.damage) > told:
                self._tell(round_.damage[told:], told)
                told = len(round_.damage)
                self._wal.found_damage(round_.damage)
                await asyncio.to_thread(write_report, self._state_dir, _report(round_, began_at, None))
            await asyncio.sleep(PAUSE_S)
        self._wal.scrubbed(round_.unread, round_.damage)
        await asyncio.to_thread(write_report, self._state_dir, _report(round_, began_at, time.time()))

    def _tell(self, damage: list[Damage], told: int) -> None:
        for place in damage[: max(MOST_LOGGED - told, 0)]:
            log.error(
                "log.damaged",
                extra={
                    "segment": place.segment,
                    "offset": place.offset,
                    "size_bytes": place.size_bytes,
                    "recovered": place.record_recovered,
                    "places": told + len(damage),
                },
            )


def _report(round_: Scrub, began_at: float, ended_at: float | None) -> ScrubReport:
    return ScrubReport(
        began_at=began_at,
        ended_at=ended_at,
        segments=len(round_.names),
        size_bytes=round_.size_bytes,
        damage=tuple(
            ScrubbedPlace(segment=place.segment, offset=place.offset, size_bytes=place.size_bytes)
            for place in round_.damage[:MOST_PLACES]
        ),
    )
