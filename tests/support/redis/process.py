"""A private redis-server: its own directory, port and unix socket, stopped by whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.support.ports import free_port
from tests.support.tools import redis_server
from workers.doctor.server_package import package_of

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
PORT_TRIES = 5  # another process may take a free port between the look and the bind


class RedisFailed(RuntimeError):
    """redis-server did not come up, or did not answer; the message ends with its log."""


class RedisProcess:
    """One redis-server process.

    ``port``, ``socket_path`` and the data directory stay the same over ``stop``/``kill`` and ``start``, so a
    test can take Redis away from its clients and give it back. With ``appendonly`` the data survive too,
    ``kill`` included: the file is synced before each answer, since with ``everysec`` a slow disk loses acknowledged writes
    (``tests/integration/redis/test_slow_disk.py``).
    Further ``redis.conf`` settings go into ``settings`` (``{"maxmemory": "10mb"}``), further variables of the process
    into ``environment``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        password: str | None = None,
        appendonly: bool = False,
        settings: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self._environment = {**os.environ, **(environment or {})}
        self.password = password
        self.port = free_port()
        # sun_path holds 108 bytes, and pytest's directories are long: the socket lives in its own short one
        self._socket_directory = tempfile.TemporaryDirectory(prefix="sigmill-redis-")
        self.socket_path = Path(self._socket_directory.name) / "redis.sock"
        self._settings = {
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always",
            "daemonize": "no",
            "bind": "127.0.0.1",
            "dir": str(directory),
            "logfile": str(directory / "redis.log"),
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            **({"requirepass": password} if password is not None else {}),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """``redis://`` over TCP, database 0, with the password if there is one."""
        login = f":{self.password}@" if self.password is not None else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id; raises ``RedisFailed`` while stopped."""
        if self._process is None:
            raise RedisFailed("redis-server is stopped")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start the server and wait until it answers PING; does nothing while it runs.

        The first start may choose another port if this one was taken meanwhile; a later start never does.
        """
        if self.running:
            return self
        first = not (self.directory / "redis.log").exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(PORT_TRIES if first else 1):
            if self._launch():
                return self
            if first:
                self.port = free_port()
        raise RedisFailed(f"redis-server did not start:\n{self._log()}")

    def configure(self, **settings: str) -> None:
        """Settings of the next start; ``_`` stands for ``-``."""
        self._settings |= {name.replace("_", "-"): value for name, value in settings.items()}

    def stop(self) -> None:
        """SIGTERM, and wait; does nothing while stopped."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a power cut would; does nothing while stopped."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def go_on(self) -> None:
        """SIGCONT, until it has run what came while it stood still: the first PING of these is behind all of that."""
        self.resume()
        for _ in range(5):
            self.command("PING")

    def flush(self) -> None:
        """Empty this server's databases, functions and scripts: its own, started by this object."""
        for command in ((b"FLUSHALL",), (b"SCRIPT", b"FLUSH")):
            self.command(*command)

    def command(self, *words: bytes | str) -> bytes:
        """One command over the unix socket, without any client library: the first reply line, or the bulk string."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(START_TIMEOUT_S)
            connection.connect(str(self.socket_path))
            return ask(connection, *words, password=self.password)

    def answers(self) -> bool:
        """Whether it takes writes now, as far as PING and its role can tell."""
        with contextlib.suppress(OSError, RedisFailed):
            return self.command("PING") == b"+PONG" and self.info("replication")["role"] == "master"
        return False

    def info(self, section: str) -> dict[str, str]:
        """The fields of ``INFO section``."""
        return fields_of(self.command("INFO", section))

    @property
    def is_outdated(self) -> bool:
        """Whether this host has a Debian package of it with known ways in, which `doctor` tells, and rightly."""
        package = package_of(self.info("server"))
        return package is not None and package.fixed is not None and not package.is_fixed

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop for good and remove the socket's directory."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.resume()  # a paused process ignores SIGTERM
        self.stop()
        self._socket_directory.cleanup()

    def _launch(self) -> bool:
        config = self.directory / "redis.conf"
        lines = [f'{name} "{value}"' for name, value in {**self._settings, "port": str(self.port)}.items()]
        config.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [redis_server(), str(config)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            # LOADING, or no socket yet
            with contextlib.suppress(OSError, RedisFailed):
                if self.command("PING") == b"+PONG":
                    return True
            time.sleep(0.005)
        self.kill()
        return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log(self) -> str:
        log = self.directory / "redis.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"


def ask(connection: socket.socket, *words: bytes | str, password: str | None = None) -> bytes:
    """One command on a fresh connection; raises ``RedisFailed`` with what the server says against it."""
    login = [("AUTH", password)] if password is not None else []
    with connection.makefile("rb") as replies:
        reply = b""
        for request in (*login, words):
            connection.sendall(_encode(*request))
            reply = replies.readline().rstrip(b"\r\n")
            if reply.startswith(b"-"):
                raise RedisFailed(reply.decode(errors="replace"))
            if reply.startswith(b"$") and reply != b"$-1":
                reply = replies.read(int(reply[1:]) + 2)[:-2]
    return reply


def fields_of(info: bytes) -> dict[str, str]:
    """The ``field:value`` lines of INFO."""
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _encode(*words: bytes | str) -> bytes:
    raw = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in raw)
