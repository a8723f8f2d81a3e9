"""Running workers of a state directory, and the outcome of their last reload, for commands.

A worker holds a lock on ``workers/PID`` for as long as it lives, so a process id that was reused
is not taken for a worker; ``workers/PID.reload`` is the outcome of its last reload.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.files.folders import entries
from queueing.files.regular_file import read_regular, regular_descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGEST_REPORT_BYTES: Final = 1024 * 1024
"""A report names at most 20 tenants and 20 lanes."""


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a reload that began at ``started_ns`` (CLOCK_MONOTONIC, the same in all processes of a host).

    ``outcome``: adopted, unchanged or refused. ``waiting``: tables that count only after a restart. ``lanes``:
    lanes that kept their old files, and why.
    """

    started_ns: int
    took_s: float
    outcome: str
    epoch: int
    tenants: int
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    problem: str = ""
    remedy: str = ""


class PidLock:
    """Lock file of this process, named after its process id.

    Nothing of it is synced: the lock is the kernel's, and after a power cut no worker runs.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "workers"
        self._file = self._folder / str(os.getpid())
        self._descriptor = -1

    def set(self) -> None:
        """Create and lock the file, and remove the files of dead workers. Raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in entries(self._folder):
            if _is_pid(file.name) and not _locked(file):
                for suffix in (".new", ".reload", ""):
                    file.with_suffix(suffix).unlink(missing_ok=True)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def report(self, report: ReloadReport) -> None:
        """Publish the outcome of a reload.

        Not synced: its reader is a command of this boot (``started_ns`` is a time of its clock). The rename lets that
        command see all of it or nothing.
        """
        draft = self._file.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(report))
        draft.replace(self._file.with_suffix(".reload"))

    def remove(self) -> None:
        """Remove the files of this process and unlock."""
        for name in (".reload", ".new", ""):
            with contextlib.suppress(OSError):
                self._file.with_suffix(name).unlink(missing_ok=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)


def running_workers(state_dir: Path) -> Iterator[int]:
    """Process ids of the running workers. Raises ``OSError`` where they cannot be listed."""
    for file in entries(state_dir / "workers", missing_ok=True):
        if _is_pid(file.name) and _locked(file):
            yield int(file.name)


def last_report(state_dir: Path, pid: int) -> ReloadReport | None:
    """Outcome of the worker's last reload; None where there was none."""
    try:
        raw = read_regular(state_dir / "workers" / f"{pid}.reload", largest_bytes=_LARGEST_REPORT_BYTES)
        return msgspec.json.decode(raw, type=ReloadReport)
    except (OSError, ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, of other fields
        return None


def _is_pid(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 10  # pid_t has 32 bits


def _locked(file: Path) -> bool:
    try:
        descriptor = regular_descriptor(file)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
