"""How commands find the workers of a state directory, and what those answer to a reload.

A worker holds a lock on ``workers/PID`` for as long as it lives, so a number that was given out again deceives
nobody; ``workers/PID.reload`` is the outcome of its last reload.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import msgspec

from queueing.files.folders import entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    """The mark of this process."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "workers"
        self._file = self._folder / str(os.getpid())
        self._descriptor = -1

    def set(self) -> None:
        """Make it, and remove what dead workers left; raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in entries(self._folder):
            if file.name.isdigit() and not _locked(file):
                file.unlink(missing_ok=True)
                file.with_suffix(".reload").unlink(missing_ok=True)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def report(self, report: ReloadReport) -> None:
        """Say how a reload went."""
        draft = self._file.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(report))
        draft.replace(self._file.with_suffix(".reload"))

    def remove(self) -> None:
        """The process ends in order."""
        for name in (".reload", ".new", ""):
            with contextlib.suppress(OSError):
                self._file.with_suffix(name).unlink(missing_ok=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)


def running_workers(state_dir: Path) -> Iterator[int]:
    """The process ids of the workers that live. Raises ``OSError`` where they cannot be listed."""
    for file in entries(state_dir / "workers", missing_ok=True):
        if file.name.isdigit() and _locked(file):
            yield int(file.name)


def last_report(state_dir: Path, pid: int) -> ReloadReport | None:
    """How the worker's last reload went; None where there was none."""
    try:
        raw = (state_dir / "workers" / f"{pid}.reload").read_bytes()
        return msgspec.json.decode(raw, type=ReloadReport)
    except (OSError, msgspec.MsgspecError):
        return None


def _locked(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
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
