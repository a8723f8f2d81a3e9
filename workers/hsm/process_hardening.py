"""Hardening of a process before it reads a PIN, and a lock and time limits for the start of a lane."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import resource
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from queueing.files.durable_file import give_to_owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def harden() -> None:
    """Forbid core files, which could contain a PIN, and tracers of the same user (prctl(2), PR_SET_DUMPABLE)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the worker ends; exit at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


LEAST_CALL_S: Final = 5.0
"""A call at the start may take this long on a busy machine, however short the call timeout."""


@contextmanager
def each_call_within(timeout_s: float) -> Iterator[Callable[[float], None]]:
    """Have SIGALRM kill this process when a call of the module does not return; the yielded function begins the next call,
    with a time limit of its own.

    The kernel does it, whatever locks the module holds. For the start of a lane, before the watchdog runs; from the main
    thread of its process only, which has no other use for this timer.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def next_call(timeout_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(timeout_s, LEAST_CALL_S))

    next_call(timeout_s)
    try:
        yield next_call
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def one_start_at_a_time(state_dir: Path, module: str) -> Iterator[None]:
    """Lock for the initialisation of a module: one lane of this host and module at a time.

    Two SoftHSM processes that do so at the same moment can both fail; what is within must be bounded
    (``each_call_within``), for others wait. Where the lane's user may not write the state directory (or there is none
    yet, or its disk is full), host-started lanes must be started one after another.
    """
    with locked(start_lock(state_dir, module)):
        yield


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Lock of this host, in a file that is made; none where the file cannot be made. A link in its place is not followed."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        give_to_owner_of(file.parent, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def start_lock(state_dir: Path, module: str) -> Path:
    """Lock file of a module, named by the module's real path."""
    name = hashlib.sha256(os.path.realpath(module).encode()).hexdigest()[:16]
    return state_dir / f"lane-start.{name}.lock"
