"""Whether everything that we started, and what that started, has ended."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Final

from queueing.files.folders import entries

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_PATIENCE_S: Final = 3.0
_POLL_S: Final = 0.02


def adopt_orphans() -> None:
    """From now on grandchildren that lose their parent become our children, so that none is lost to us."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def remaining() -> list[str]:
    """Our children that do not end within three seconds, as ``pid command``; the dead are reaped."""
    deadline = time.monotonic() + _PATIENCE_S
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
    except FileNotFoundError:  # the thread has ended
        return []


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "?"
