"""A worker as a child process of a private stack, with its HTTP endpoints on the loopback interface."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workers.dev.child_process import Child

if TYPE_CHECKING:
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

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._child.kill()

    def _published(self) -> float:
        found = _PUBLISHED.search(self.page("/metrics") or "")
        return float(found.group(1)) if found else 0.0


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of the loopback interface that are free now.

    They lie beside the ports that the kernel gives to outgoing connections, since such a connection could take one before its server
    binds it.
    """
    first, last = _ports_of_outgoing_connections()
    candidates = [*range(last + 1, 65_536)] or [*range(10_000, first)] or [0] * count
    random.shuffle(candidates)
    with contextlib.ExitStack() as stack:
        servers: list[socket.socket] = []
        for port in candidates:
            if len(servers) == count:
                break
            with contextlib.suppress(OSError):
                servers.append(stack.enter_context(socket.create_server(("127.0.0.1", port))))
        if len(servers) < count:
            raise WorkerFailed(f"this host has no {count} free ports on its loopback interface")
        return [server.getsockname()[1] for server in servers]


def _ports_of_outgoing_connections() -> tuple[int, int]:
    """First and last of them (ip(7), ip_local_port_range); all from 32768 on where the kernel does not say."""
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(first), int(last)
    except (OSError, ValueError):
        return 32_768, 65_535
