"""What a lane gives up before it reads its PIN, and how lanes start without treading on each other."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def harden() -> None:
    """No core file with a PIN in it, and no tracer of the same user (prctl(2), PR_SET_DUMPABLE)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int) -> None:
    """Be killed when the worker ends in whatever way; end at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


@contextmanager
def one_start_at_a_time(state_dir: Path) -> Iterator[None]:
    """One lane of this host initialises its module and logs in at a time.

    Two SoftHSM processes that do so at the same moment can both fail (design, fact 15). Where the lane's user
    may not write the state directory (or there is none yet, or its disk is full), lanes of the host are started one
    after another by whoever starts them.
    """
    try:
        descriptor = os.open(state_dir / "lane-start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
