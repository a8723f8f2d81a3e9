"""State directory of a worker, and the lock that keeps a second process out of it.

Two processes that write one write-ahead log would each take the other's segments for those of a dead process.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder
from queueing.files.regular_file import regular_descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LogInUse(OSError):
    """Another process owns the log; ``pid`` is its process id, 0 where that cannot be read."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} writes this log")
        self.pid = pid


@contextmanager
def reading_state(file: Path) -> Iterator[None]:
    """An ``OSError`` of this block is a ``ConfigError``; ``file`` is the service's, which names the state directory."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            str(file),
            "service.state_dir",
            f"{error.filename or 'a file in it'} cannot be read ({error.strerror})",
            "Run it as the worker's user, or correct the owner, the mode or the disk of that folder.",
        ) from error


class StateDirectory:
    """``service.state_dir`` of a worker; ``configured_in`` is the file that names it, for error messages."""

    def __init__(self, path: Path, *, configured_in: Path) -> None:
        self._path = path
        self._configured_in = configured_in
        self._lock = -1

    @property
    def log_folder(self) -> Path:
        """Folder of the write-ahead log's segments."""
        return self._path / "wal"

    def own(self) -> None:
        """Create and lock the directory. Raises ``ConfigError`` when another worker owns it, or it cannot be used."""
        try:
            make_folder(self._path)
            self._lock = own_folder(self.log_folder)
        except LogInUse as error:
            raise self._error(
                f"{self._path} belongs to the worker that runs as process {error.pid}",
                "Stop that worker, or give each worker a state_dir of its own.",
            ) from error
        except OSError as error:
            raise self._error(
                f"{error.filename or self._path} cannot be used ({error.strerror})",
                "It must be a writable directory with free disk space: without its write-ahead log nothing is signed.",
            ) from error

    def release(self) -> None:
        """Unlock the directory: another worker may own it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _error(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(str(self._configured_in), "service.state_dir", problem, remedy)


def own_folder(folder: Path) -> int:
    """Create the folder and lock it until the process ends; returns the descriptor of the lock.

    Raises ``LogInUse``, or another ``OSError`` where the disk cannot be used.
    """
    make_folder(folder)
    file = folder / "lock"
    # Opened for reading only: a disk on which a file is open for writing cannot be remounted read-only.
    descriptor = regular_descriptor(file, os.O_RDONLY | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write_text(str(os.getpid()))  # not synced: the lock is the kernel's, and ends with it
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0)
        os.close(descriptor)
        raise LogInUse(int(holder) if holder.isdigit() else 0) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
