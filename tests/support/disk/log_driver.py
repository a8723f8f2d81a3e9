"""Appends numbers to a write-ahead log until each is acknowledged, and says which were; to be run under strace.

    python log_driver.py FOLDER ACKNOWLEDGED COUNT SEGMENT_BYTES

``ACKNOWLEDGED`` gets a line ``N`` for each that was, and ``failed N`` for each try that was refused.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from queueing.errors import LogUnavailable
from workers.journal import segment_writer
from workers.journal.journal import WriteAheadLog
from workers.journal.records import ReleasedRecord

TRIES = 20


async def drive(folder: Path, said: Path, count: int) -> None:
    wal = WriteAheadLog(folder)
    with said.open("a", buffering=1) as out:
        for number in range(count):
            for _ in range(TRIES):
                try:
                    await wal.append([ReleasedRecord(number, "acme", b"j" * 48, b"lease", "committed")])
                except LogUnavailable:
                    print("failed", number, file=out)
                else:
                    print(number, file=out)
                    break
        await wal.close()


if __name__ == "__main__":
    segment_writer.SEGMENT_BYTES = int(sys.argv[4])  # type: ignore[misc]
    asyncio.run(drive(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
