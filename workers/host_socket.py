"""Unix sockets at which processes of one host meet, under different users: the peer's uid decides, not the mode."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from queueing.errors import ConfigError
from queueing.files.socket_place import bind_problem, held_place


@contextlib.contextmanager
def bind_at(place: Path, kind: socket.SocketKind, *, file: str, key: str) -> Iterator[socket.socket]:
    """Socket bound at ``place`` within the block, where one that a former process left is replaced. ``file`` and ``key``: the setting that
    names it.

    Raises ``ConfigError`` where that is impossible, also where a process has bound a socket there that runs, or another kind of file is
    there: no socket is left open.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(held_place(place))
            bound = held.enter_context(socket.socket(socket.AF_UNIX, kind))
            if place.is_socket():
                place.unlink()
            bound.bind(str(place))
            place.chmod(0o666)  # processes of different users need not share a group
        except (OSError, ValueError) as error:
            raise ConfigError(
                file,
                key,
                f"cannot listen at {place}: {bind_problem(error)}",
                "Name a path of at most 107 bytes, at which there is nothing or an old socket, in a folder that this user may write.",
            ) from None
        yield bound
