"""Going on where a former process stopped: intents without an end are closed, outcomes not released are remembered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from queueing.errors import LogUnavailable
from workers.journal.recovery import recover

if TYPE_CHECKING:
    from pathlib import Path

    from workers.journal.journal import WriteAheadLog
    from workers.journal.records import OutcomeRecord
    from workers.journal.recovery import Recovered

log = logging.getLogger("sigmill.service")

SHORTEST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0


async def recover_journal(folder: Path, wal: WriteAheadLog, *, stop: asyncio.Event) -> list[OutcomeRecord]:
    """Read the log and close what was open; the outcomes that may not have been released.

    A disk that cannot be read or written is tried again for ever: nothing may be claimed before, since what is in there
    would be signed again. Empty when ``stop`` was set meanwhile.
    """
    pause_s = SHORTEST_PAUSE_S
    recovered: Recovered | None = None
    while not stop.is_set():
        try:
            if recovered is None:
                recovered = await asyncio.to_thread(recover, folder)
                wal.inherit(recovered.open_claims)
                await wal.measure()
                _say(recovered)
            if recovered.unknown or recovered.unreleased:
                # Outcomes too: what the former process wrote last was perhaps never synced.
                await wal.append([*recovered.unknown, *recovered.unreleased])
        except (OSError, LogUnavailable) as error:
            wal.failing = True
            log.error("recovery.failed", extra={"why": str(error)})
        else:
            wal.failing = False
            return recovered.unreleased
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await stop.wait()
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
    return []


def _say(recovered: Recovered) -> None:
    if recovered.unknown or recovered.unreleased:
        log.warning(
            "recovery.found",
            extra={"unknown": len(recovered.unknown), "unreleased": len(recovered.unreleased)},
        )
