"""A worker's own directory: one process has it, for as long as it lives."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from queueing.errors import ConfigError
from workers.state.ownership import LogInUse, own_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration


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
            "Run it as the worker's user, or mend the owner, the mode or the disk of that place.",
        ) from error


class StateDirectory:
    """``service.state_dir`` of this worker; ``log_folder`` is its write-ahead log's."""

    def __init__(self, service: ServiceConfiguration) -> None:
        self._service = service
        self._lock = -1

    @property
    def log_folder(self) -> Path:
        """Where the segments are."""
        return self._service.state_dir / "wal"

    def own(self) -> None:
        """Take it; ``ConfigError`` when another worker has it, or it cannot be used."""
        state_dir = self._service.state_dir
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = own_folder(self.log_folder)
        except LogInUse as error:
            raise self._problem(
                f"{state_dir} belongs to the worker that runs as process {error.pid}",
                "Stop that worker, or give each worker a state_dir of its own.",
            ) from error
        except OSError as error:
            raise self._problem(
                f"{state_dir} cannot be used ({error.strerror})",
                "It must be a writable directory on a disk with room: without its log nothing is signed.",
            ) from error

    def _problem(self, problem: str, remedy: str) -> ConfigError:
        return ConfigError(str(self._service.file), "service.state_dir", problem, remedy)

    def give_up(self) -> None:
        """Another worker may have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
