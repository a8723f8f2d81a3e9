"""Write-ahead log that keeps its records in memory, and fails so many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from queueing.errors import LogUnavailable

if TYPE_CHECKING:
    from workers.journal.journal import WriteAheadLog
    from workers.journal.records import Record


class RecordingLog:
    """Records in ``durable`` were awaited, those in ``noted`` not."""

    def __init__(self) -> None:
        self.failures = 0
        self.durable: list[Record] = []
        self.noted: list[Record] = []

    async def append(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("no space left on device")
        self.durable += records

    def append_nowait(self, records: Sequence[Record]) -> None:
        self.noted += records

    @property
    def wal(self) -> WriteAheadLog:
        return cast("WriteAheadLog", self)
