"""A worker as a child process of a private stack, with its HTTP endpoints on the loopback interface."""

from __future__ import annotations

import http.client
import re
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from workers.dev.child_process import Child

if TYPE_CHECKING:
    from pathlib import Path

    from workers.dev.redis_server import RedisServer

_READY_TIMEOUT_S: Final = 60.0
_DRAIN_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05
_HTTP_TIMEOUT_S: Final = 2.0
_PUBLISHED: Final = re.compile(
    r'^sigmill_directories_published_total\{outcome="published"\} (\S+)$', re.MULTILINE
)


class WorkerFailed(RuntimeError):
    """A worker was not ready in time, or exited unexpectedly; the message has the end of its log."""


class WorkerProcess:
    """A running ``sigmill worker``. Start it in the main thread, as every ``Child``.

    ``config``: its sigmill.toml; ``port``: the metrics port in that file. The log is ``logs/worker-<number>.log``.
    """

    def __init__(self, number: int, config: Path, *, port: int, logs: Path) -> None:
        command = [sys.executable, "-I", "-m", "workers.cli", "worker", "--config", str(config)]
        self._child = Child(f"worker-{number}", command, logs / f"worker-{number}.log")
        self._port = port

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def page(self, path: str) -> str | None:
        """Body of the answer to GET ``path``; None without an answer within 2 s, or with another status than 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read().decode() if response.status == http.client.OK else None
        except OSError:
            return None
        finally:
            connection.close()

    def check(self) -> None:
        """Raise ``WorkerFailed`` if the process has ended."""
        if self._child.exit_code is not None:
            raise WorkerFailed(
                f"{self._child.name} ended with {self._child.exit_code}:\n{self._child.log_tail()}"
            )

    def wait_until_ready(self, directories: int, redis: RedisServer | None = None) -> None:
        """Wait until it can claim and has published this many key directories. Raises ``WorkerFailed`` after 60 s.

        ``redis``: the server of its configuration. If that ends the worker is never ready: raises ``RedisEnded`` at once.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while self.page("/readyz") is None or self._published() < directories:
            if redis is not None:
                redis.check()
            self.check()
            if time.monotonic() > deadline:
                raise WorkerFailed(
                    f"{self._child.name} was not ready within {_READY_TIMEOUT_S:.0f} s:\n{self._child.log_tail()}"
                )
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Send SIGTERM and wait until it has drained; SIGKILL after 30 s."""
        self._child.stop(_DRAIN_TIMEOUT_S)

    def _published(self) -> float:
        found = _PUBLISHED.search(self.page("/metrics") or "")
        return float(found.group(1)) if found else 0.0


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of the loopback interface that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
