"""Recovers the log of a former process: closes open intents, and returns outcomes that may not be published."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.aio.events import wait_for
from queueing.errors import LogUnavailable
from workers.journal.recovery import recover
from workers.journal.unreadable_places import SegmentUnreadable, UnreadablePlaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.journal.journal import WriteAheadLog
    from workers.journal.records import OutcomeRecord
    from workers.journal.recovery import Recovered

log = logging.getLogger("sigmill.service")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Pauses between attempts while the disk fails."""

MOST_LOGGED: Final = 20
"""Damaged places with a line of their own; a lost disk has thousands."""


async def recover_journal(
    folder: Path, wal: WriteAheadLog, *, stop: asyncio.Event, clock_s: Callable[[], float] = time.monotonic
) -> list[OutcomeRecord]:
    """Read the log, close open intents, and return the outcomes that may not be published.

    While the disk cannot be read or written this is retried until ``stop`` is set, and then returns nothing: no job may
    be claimed before, because those in the log would be signed again. A place that the disk does not give is given up after ten
    minutes (``UnreadablePlaces``), and is damage: the leases of its jobs have ended, and other hosts have claimed them.
    """
    unreadable = UnreadablePlaces()
    backoff = Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
    recovered: Recovered | None = None
    while not stop.is_set():
        try:
            if recovered is None:
                recovered = await asyncio.to_thread(recover, folder, unreadable=unreadable)
                wal.inherit(recovered.open_claims)
                wal.found_damage(recovered.damage)
                await wal.measure()
                _report(recovered)
            if recovered.unknown or recovered.unreleased:
                # Outcomes too: the last ones of the former process may never have been synced.
                await wal.append([*recovered.unknown, *recovered.unreleased])
        except SegmentUnreadable as error:
            wal.failing = True
            if unreadable.failed(error, clock_s()):
                extra = {"segment": error.segment, "offset": error.offset, "errno": error.errno}
                log.error("recovery.unreadable", extra=extra)
        except (OSError, LogUnavailable) as error:
            wal.failing = True
            log.error("recovery.failed", extra={"why": str(error)})
        else:
            wal.failing = False
            return recovered.unreleased
        await wait_for(stop, backoff.next_s())
    return []


def _report(recovered: Recovered) -> None:
    for damage in recovered.damage[:MOST_LOGGED]:
        log.error(
            "log.damaged",
            extra={
                "segment": damage.segment,
                "offset": damage.offset,
                "size_bytes": damage.size_bytes,
                "recovered": damage.record_recovered,
                "places": len(recovered.damage),
            },
        )
    if recovered.unknown or recovered.unreleased:
        log.warning(
            "recovery.found",
            extra={"unknown": len(recovered.unknown), "unreleased": len(recovered.unreleased)},
        )
