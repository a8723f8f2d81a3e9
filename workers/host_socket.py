"""Unix sockets at which processes of one host meet, under different users: the peer's uid decides, not the mode."""

from __future__ import annotations

import socket
from pathlib import Path

from queueing.errors import ConfigError


def bind_at(place: Path, kind: socket.SocketKind, *, file: str, key: str) -> socket.socket:
    """Socket bound at ``place``, where one that a former process left is replaced. ``file`` and ``key``: the setting that names it.

    Raises ``ConfigError`` where that is impossible, also where another kind of file is there: no socket is left open.
    """
    bound = socket.socket(socket.AF_UNIX, kind)
    try:
        if place.is_socket():
            place.unlink()
        bound.bind(str(place))
        place.chmod(0o666)  # processes of different users need not share a group
    except (OSError, ValueError) as error:
        bound.close()
        raise ConfigError(
            file,
            key,
            f"cannot listen at {place}: {getattr(error, 'strerror', None) or error}",  # of a path that is too long it has none
            "Name a path of at most 107 bytes, at which there is nothing or an old socket, in a folder that this user may write.",
        ) from None
    return bound
