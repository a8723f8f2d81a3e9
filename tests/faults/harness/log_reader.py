"""Reader of a worker's stderr: a process behind a pipe, which a fault stops or kills. What it reads goes to the worker's log file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PIPE_BYTES = 4096
"""The least that Linux gives a pipe: some twenty lines."""

END_S = 20.0


@dataclass(slots=True)
class LogReader:
    """Reader of ``pipe``, a named pipe that processes write to. The pipe outlives writers and readers."""

    pipe: Path
    log: Path
    _writer: int
    _reader: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, name: str) -> Self:
        """Make the pipe ``name.pipe``, and read it to ``name.log``."""
        pipe, log = folder / f"{name}.pipe", folder / f"{name}.log"
        os.mkfifo(pipe)
        source = _reading_end(pipe)
        writer = os.open(pipe, os.O_WRONLY)  # while it is open, a reader sees no end where a worker ends
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return cls(pipe, log, writer, _read(source, log))

    def stop(self) -> None:
        """SIGSTOP: the pipe fills, and a write to it blocks."""
        self._reader.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._reader.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: a write fails (EPIPE)."""
        self._reader.kill()
        self._reader.wait()

    def start_again(self) -> None:
        """Another reader, after ``kill``."""
        self._reader = _read(_reading_end(self.pipe), self.log)

    def close(self) -> None:
        """Read to the end, when all writers have ended, and end."""
        os.close(self._writer)
        with contextlib.suppress(ProcessLookupError):
            self.resume()
        try:
            self._reader.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()


def _reading_end(pipe: Path) -> int:
    """The pipe, opened without waiting for a writer."""
    source = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(source, True)
    return source


def _read(source: int, log: Path) -> subprocess.Popen[bytes]:
    try:
        with log.open("ab") as target:
            return subprocess.Popen(["cat"], stdin=source, stdout=target, start_new_session=True)
    finally:
        os.close(source)
