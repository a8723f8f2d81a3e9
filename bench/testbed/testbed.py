"""Testbed: Redis, workers and clients around the tokens of a keyring, as a user would run them."""

from __future__ import annotations

import http.client
import re
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from bench.hsm.keyring import KeptFile, Keyring
from bench.measurement.procfs import all_processes, tree
from bench.queue.redis_probe import RedisProbe
from bench.testbed.config_files import BenchTenant, ClientFiles, service_text, tenant_text, write_clients
from queueing.protocol.client_keys import ClientKey
from workers.dev.child_process import Child
from workers.dev.redis_server import RedisServer

READY_TIMEOUT_S: Final = 60.0
DRAIN_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05
_PUBLISHED: Final = re.compile(
    r'^sigmill_directories_published_total\{outcome="published"\} (\S+)$', re.MULTILINE
)


class TestbedFailed(RuntimeError):
    """A worker did not come up, or ended; the message ends with its log."""


class BenchTestbed:
    """A running stack with the given tenants. A context manager, for the main thread.

    Each tenant has a token of its own name; lanes start when first needed. Every worker serves every tenant.
    """

    def __init__(
        self, directory: Path, keyring: Keyring, tenants: Sequence[BenchTenant], *, workers: int = 1
    ) -> None:
        self.directory = directory
        self.clients: dict[str, ClientFiles] = {}
        self.tenants = {tenant.name: tenant for tenant in tenants}
        self.keyring = keyring
        self._worker_count = workers
        self._server: RedisServer | None = None
        self._probe: RedisProbe | None = None
        self._workers: list[tuple[Child, int]] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def redis(self) -> RedisProbe:
        """The harness's connection to the testbed's Redis."""
        assert self._probe is not None
        return self._probe

    @property
    def server(self) -> RedisServer:
        """The testbed's Redis: where it listens."""
        assert self._server is not None
        return self._server

    @property
    def worker_pids(self) -> list[int]:
        """The workers."""
        return [child.pid for child, _ in self._workers]

    def lane_pids(self) -> list[int]:
        """Everything the workers have started: their lanes."""
        workers = set(self.worker_pids)
        return sorted(tree(workers, all_processes()) - workers)

    def metrics(self) -> str:
        """Metrics page of the first worker."""
        return _get(self._workers[0][1], "/metrics") or ""

    def check(self) -> None:
        """Raise ``TestbedFailed`` if a worker has ended by itself."""
        for child, _ in self._workers:
            if child.exit_code is not None:
                raise TestbedFailed(f"{child.name} ended with {child.exit_code}:\n{child.log_tail()}")

    def stop(self) -> None:
        """Drain and end the workers, then Redis."""
        workers, self._workers = self._workers, []
        for child, _ in workers:
            child.stop(DRAIN_TIMEOUT_S)
        if self._probe is not None:
            self._probe.close()
        if self._server is not None:
            self._server.stop()
        self._probe = self._server = None

    def _start(self) -> None:
        logs = self.directory / "logs"
        logs.mkdir(parents=True)
        held = self.keyring.several([tenant.kind for tenant in self.tenants.values()])
        tenants = list(zip(self.tenants.values(), held, strict=True))
        self._server = RedisServer(self.directory / "redis", logs)
        self._probe = RedisProbe(self._server)
        self._write_tenants(self._server, tenants)
        for number, port in enumerate(_free_ports(self._worker_count), start=1):
            file = self.directory / f"sigmill-{number}.toml"
            text = service_text(
                self._server,
                self.keyring.service,
                tenants,
                metrics_port=port,
                state_dir=f"state-{number}",
            )
            file.write_text(text, "utf-8")
            command = [sys.executable, "-I", "-m", "workers.cli", "worker", "--config", str(file)]
            child = Child(f"worker-{number}", command, logs / f"worker-{number}.log")
            self._workers.append((child, port))
        self._wait_until_ready()

    def _write_tenants(self, redis: RedisServer, tenants: list[tuple[BenchTenant, KeptFile]]) -> None:
        folder = self.directory / "tenants"
        folder.mkdir()
        for tenant, held in tenants:
            client = ClientKey.generate()
            text = tenant_text(tenant, held, client)
            (folder / f"{tenant.name}.toml").write_text(text, "utf-8")
            place = self.directory / "clients" / tenant.name
            self.clients[tenant.name] = write_clients(place, tenant, client, redis, self.keyring.service)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        for child, port in self._workers:
            while _get(port, "/readyz") is None or _published(port) < len(self.tenants):
                self.check()
                if time.monotonic() > deadline:
                    raise TestbedFailed(f"{child.name} was not ready in time:\n{child.log_tail()}")
                time.sleep(_POLL_S)


def _get(port: int, path: str) -> str | None:
    """Body of the worker's answer; None unless its status is 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read().decode() if response.status == http.client.OK else None
    except OSError:
        return None
    finally:
        connection.close()


def _published(port: int) -> float:
    found = _PUBLISHED.search(_get(port, "/metrics") or "")
    return float(found.group(1)) if found else 0.0


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
