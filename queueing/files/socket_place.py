"""Place of a unix socket: one process at a time listens there, and replaces what a killed one has left."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 107
"""Of a path (unix(7), ``sun_path``)."""

TAKEN: Final = "another process listens on this socket already"

NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of flock(2) on a file system that has no locks, as NFS without its lock service."""

_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MOST_TRIES: Final = 100


@contextlib.contextmanager
def held_place(path: Path) -> Iterator[None]:
    """Hold ``PATH.lock`` within the block, in which the caller may remove a socket that is at ``path`` and bind its own.

    Without it, processes that start at once find the same left socket, and one removes what the other has bound; so they may on a file
    system that has no locks. Raises ``OSError`` where another process holds it, or no socket can be bound.
    """
    _check(path)
    lock = f"{path}.lock"
    descriptor = _locked(lock)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock)  # noqa: PTH108  # while it is held: see _locked
        os.close(descriptor)


def _locked(lock: str) -> int:
    """Descriptor of the locked file. One that its holder has removed meanwhile is no lock: others would lock the next one of its name."""
    for _ in range(_MOST_TRIES):
        with contextlib.ExitStack() as opened:
            descriptor = os.open(lock, _LOCK, 0o600)
            opened.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(lock)):
                    opened.pop_all()
                    return descriptor
    raise OSError(errno.EADDRINUSE, TAKEN)


def bind_problem(error: OSError | ValueError) -> str:
    """Reason that a socket could not be bound; with the name of the file, where another one than the socket is the reason."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)  # such as that of a path with a NUL
    return f"{error.strerror} ({error.filename})" if error.filename else error.strerror


def _check(path: Path) -> None:
    """Raise ``OSError`` where a socket would not be bound anyway: no lock is made there."""
    if len(os.fsencode(path)) > _MOST_BYTES:
        raise OSError(errno.ENAMETOOLONG, "the path is too long for a socket")
    if os.path.lexists(path) and not path.is_socket():
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
