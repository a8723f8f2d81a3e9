"""One process per log: two that write one folder would take each other's segments for a dead process'."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from workers.journal.segment_writer import sync_folder

if TYPE_CHECKING:
    from pathlib import Path


class LogInUse(OSError):
    """Another process holds the log; ``pid`` says which, 0 where that cannot be read."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} writes this log")
        self.pid = pid


def own_folder(folder: Path) -> int:
    """Make the folder and lock it for as long as this process lives; answers the lock's descriptor.

    Raises ``LogInUse``, or another ``OSError`` where the disk cannot be used.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_folder(folder.parent)
    file = folder / "lock"
    # For reading only: a disk on which a file is open for writing cannot be made read-only by who has to.
    descriptor = os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write_text(str(os.getpid()))
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0)
        os.close(descriptor)
        raise LogInUse(int(holder) if holder.isdigit() else 0) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
