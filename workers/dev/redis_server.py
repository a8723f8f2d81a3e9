"""A private redis-server: unix socket, password, no TCP port, no persistence."""

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
    """redis-server ended or did not answer in time; the message has the end of its log."""


class RedisEnded(RuntimeError):
    """The private redis-server exited unexpectedly."""


class RedisServer:
    """A redis-server that answers when the constructor returns.

    A client needs ``socket`` and ``password_file``. Only files of mode 0600 contain the password.
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
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server; its data is lost."""
        self._child.stop(_STOP_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._child.exit_code is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def check(self) -> None:
        """Raise ``RedisEnded`` if the server has ended."""
        if not self.alive:
            raise RedisEnded(f"redis-server ended with {self._child.exit_code}:\n{self._child.log_tail()}")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self.alive:
            if self._answers():
                return
            time.sleep(0.01)
        self.stop()
        raise RedisDidNotStart(f"redis-server did not start:\n{self._child.log_tail()}")

    def _answers(self) -> bool:
        """Whether the server asks for a password (NOAUTH): while it loads it answers LOADING, or refuses."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"-NOAUTH")
        except OSError:
            return False
