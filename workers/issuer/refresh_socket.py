"""Socket by which the issuer's lane asks the host for a provider's keys: datagrams with the provider's name.

The lane has no network; the process that has it writes the files of keys and holds nothing else. Any process of the host may
send here: a name leads to one fetch in ten seconds at most.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Final

from workers.host_socket import bind_at

_MOST_BYTES: Final = 64


class RefreshSender:
    """The lane's end. ``place`` None: no process listens, and keys are fetched at their interval only."""

    def __init__(self, place: Path | None) -> None:
        self._place = place

    def want(self, provider: str) -> None:
        """Ask for the keys of this provider. Never waits, raises nothing: they are fetched at their interval, too."""
        if self._place is None:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        ):
            sender.sendto(provider.encode(), str(self._place))


class RefreshListener:
    """The host's end. ``file``: the issuer's, for the ``ConfigError`` where it cannot listen at ``place``."""

    def __init__(self, place: Path, *, file: str = "issuer.toml") -> None:
        self._held = contextlib.ExitStack()
        self._socket = self._held.enter_context(
            bind_at(place, socket.SOCK_DGRAM, file=file, key="issuer.refresh_socket")
        )

    def close(self) -> None:
        """Close the socket."""
        self._held.close()

    def wait(self, timeout_s: float) -> str | None:
        """The next name that comes within this time; None if none does. It may be no provider's."""
        self._socket.settimeout(max(timeout_s, 0.01))
        try:
            return self._socket.recv(_MOST_BYTES).decode("ascii", "replace")
        except (TimeoutError, BlockingIOError):
            return None
