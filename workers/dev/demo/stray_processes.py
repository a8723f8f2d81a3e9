"""Detection of child and grandchild processes that outlive the demonstration."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Final

from queueing.files.folders import entries

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_TIMEOUT_S: Final = 3.0
_POLL_S: Final = 0.02


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose own parent ends, so that ``remaining`` sees them (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def remaining() -> list[str]:
    """Children that do not end within three seconds, as ``pid command``. Ended ones are reaped."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        _reap()
        left = [pid for task in entries(Path("/proc/self/task")) for pid in _children(task)]
        if not left or time.monotonic() > deadline:
            return [f"{pid} {_command(pid)}" for pid in left]
        time.sleep(_POLL_S)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _children(task: Path) -> list[int]:
    try:
        return [int(pid) for pid in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # the thread has ended
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"
