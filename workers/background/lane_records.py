"""Records of lanes in the write-ahead log: logins, starts, ends, and how often each key version has signed."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from queueing.unix_time import unix_ms
from workers.journal.event_records import (
    LaneEndedRecord,
    LaneOperationsRecord,
    LaneStartedRecord,
    LoginRecord,
)
from workers.lanes.supervisor.lost_lane import Cause

if TYPE_CHECKING:
    from workers.journal.event_records import EventRecord
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.connection import LaneConnection
    from workers.lanes.supervisor.lost_lane import ExitReason
    from workers.lanes.supervisor.spawn import LaneSpec

INTERVAL_S: Final = 60.0
"""Time between two records of a lane that signs: what a worker that is killed has not recorded of its lanes' calls."""

MOST_KEYS: Final = 256
"""Key versions in one record."""

_MOST_TEXT: Final = 256
ACCEPTED: Final = "accepted"


class LaneRecords:
    """Appends to the log what happens to the lanes of this worker (``LaneRecorder``). Nothing waits for it.

    The log writes these records with the next intent, or within a second.
    """

    def __init__(self, wal: WriteAheadLog) -> None:
        self._wal = wal
        self._build = version("sigmill")  # reads files: once, and not for each lane
        self._running: dict[bytes, tuple[LaneSpec, LaneConnection]] = {}

    def lane_started(self, spec: LaneSpec, lane: LaneConnection) -> None:
        """Record the login and the start of a lane."""
        ready, at_ms, tenant = lane.ready, unix_ms(), spec.tenant or ""
        if ready is None:
            return
        self._running[lane.id] = spec, lane
        token = ready.token
        self._wal.append_nowait(
            [
                LoginRecord(at_ms, tenant, spec.token, ACCEPTED),
                LaneStartedRecord(
                    at_ms,
                    tenant,
                    lane.id,
                    spec.token,
                    "" if token is None else token.serial,
                    "" if token is None else token.model,
                    ready.module[:_MOST_TEXT],
                    ready.sessions,
                    self._build,
                ),
            ]
        )

    def lane_ended(self, spec: LaneSpec, lane: LaneConnection, end: ExitReason, *, in_doubt: int) -> None:
        """Record a refused login, and the end of a lane that was logged in with its last calls."""
        at_ms, tenant = unix_ms(), spec.tenant or ""
        records: list[EventRecord] = []
        if self._running.pop(lane.id, None) is not None:
            reason = "asked" if end.cause is Cause.ASKED else end.reason
            records += _operations(spec, lane)
            records.append(
                LaneEndedRecord(at_ms, tenant, lane.id, spec.token, reason, lane.operations.total, in_doubt)
            )
        if end.cause is Cause.PIN:
            records.append(LoginRecord(at_ms, tenant, spec.token, end.reason))
        if records:
            self._wal.append_nowait(records)

    async def run(self) -> None:
        """Record the calls of all lanes every ``INTERVAL_S`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.record_operations()

    def record_operations(self) -> None:
        """Record the calls that lanes have reported since their last record."""
        records = [record for spec, lane in self._running.values() for record in _operations(spec, lane)]
        if records:
            self._wal.append_nowait(records)


def _operations(spec: LaneSpec, lane: LaneConnection) -> list[LaneOperationsRecord]:
    made, at_ms = lane.operations.take(), unix_ms()
    return [
        LaneOperationsRecord(at_ms, spec.tenant or "", lane.id, made[first : first + MOST_KEYS])
        for first in range(0, len(made), MOST_KEYS)
    ]
