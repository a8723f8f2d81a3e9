"""The unix socket of an agent: one process listens on it at a time, and only this user may connect to it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from queueing.errors import ConfigError
from queueing.files.socket_place import TAKEN, bind_problem, held_place

BACKLOG: Final = 128


@contextlib.contextmanager
def listening_socket(path: Path) -> Iterator[socket.socket]:
    """A socket of mode 0600 that listens on ``path``, and is removed behind the block. Raises ``ConfigError``."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(held_place(path))
            listener = held.enter_context(_bound(path))
        except OSError as error:
            raise _unbindable(path, error) from None
        yield listener


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        before = os.umask(0o177)  # no moment in which others could connect
        try:
            _remove_left_over(path)
            listener.bind(os.fspath(path))
        finally:
            os.umask(before)
        try:
            # At once: to an agent of an earlier version, without the lock, a socket that is only bound looks like a left one.
            listener.listen(BACKLOG)
            listener.setblocking(False)
            yield listener
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _remove_left_over(path: Path) -> None:
    """Remove the socket of an agent that was killed. Raises ``OSError`` where an agent of an earlier version listens, without the lock."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, TAKEN)


def _unbindable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"--socket {path}",
        "",
        f"the agent cannot listen there: {bind_problem(error)}",
        "Choose a path of at most 107 bytes in a folder of your own (`sigmill run`: TMPDIR); stop an agent that listens there.",
    )
