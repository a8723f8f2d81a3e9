"""A redis-server of our own: a unix socket in our directory, no TCP port, a password, nothing on disk."""

from __future__ import annotations

import secrets
import socket
import time
from typing import TYPE_CHECKING, Final

from workers.dev.child_process import Child
from workers.dev.private_files import write_private

if TYPE_CHECKING:
    from pathlib import Path

_START_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 5.0


class RedisDidNotStart(RuntimeError):
    """The message ends with redis-server's log."""


class RedisServer:
    """Started by the constructor; it answers when that returns.

    ``socket`` and ``password_file`` are what a client needs. The password stands in files of mode 0600 only.
    """

    def __init__(self, directory: Path, logs: Path) -> None:
        directory.mkdir(mode=0o700)
        self.socket = directory / "redis.sock"
        self.password_file = directory / "password"
        password = secrets.token_urlsafe(24)
        write_private(self.password_file, f"{password}\n")
        config = directory / "redis.conf"
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(directory),
            "save": "",
            "appendonly": "no",
            "maxmemory": "1gb",
            "maxmemory-policy": "noeviction",
            "requirepass": password,
        }
        write_private(config, "".join(f'{name} "{value}"\n' for name, value in settings.items()))
        self._child = Child("redis", ["redis-server", str(config)], logs / "redis.log")
        self._wait()

    def stop(self) -> None:
        """End it; what it held is gone."""
        self._child.stop(_STOP_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._child.exit_code is None

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self.alive:
            if self._answers():
                return
            time.sleep(0.01)
        self.stop()
        raise RedisDidNotStart(f"redis-server did not start:\n{self._child.last_words()}")

    def _answers(self) -> bool:
        """It wants a password when it is ready (NOAUTH); a LOADING or a refused connection is not ready."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"-NOAUTH")
        except OSError:
            return False
