"""A private stack in one directory: Redis, tokens, keys, configuration and workers, started and stopped together."""

from __future__ import annotations

import http.client
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from queueing.protocol.client_keys import ClientKey
from queueing.protocol.public_keys import PublicKey
from workers.config.loading import load_configuration
from workers.dev.child_process import Child
from workers.dev.config_files import service_file, tenant_text, write_client
from workers.dev.redis_server import RedisServer
from workers.dev.softhsm import make_token
from workers.dev.tenants import SERVICE_KEY_KIND, SERVICE_KEY_LABEL, SERVICE_TOKEN, TENANTS
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from queueing.protocol.algorithms import KeyKind
    from workers.config.settings import TokenSettings

_READY_TIMEOUT_S: Final = 60.0
_DRAIN_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05
_SESSIONS: Final = 2
_PUBLISHED: Final = re.compile(
    r'^sigmill_directories_published_total\{outcome="published"\} (\S+)$', re.MULTILINE
)


class StackFailed(RuntimeError):
    """A worker or Redis did not start, or ended; the message has the end of the worker's log."""


class Stack:
    """A private stack. Use it as a context manager in the main thread: leaving it stops everything.

    ``directory`` must be empty, and short enough for the path of a unix socket; it is not removed. After entering,
    ``clients`` has a ``client.toml`` per tenant, ``public_keys`` the pinned key per tenant, and ``config`` is the
    first worker's configuration file.
    """

    def __init__(self, directory: Path, *, workers: int = 1) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.config = directory / "sigmill.toml"
        self.clients: dict[str, Path] = {}
        self.public_keys: dict[str, PublicKey] = {}
        self._worker_count = workers
        self._redis: RedisServer | None = None
        self._workers: list[tuple[Child, int]] = []

    def __enter__(self) -> Self:
        try:
            self._build()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the workers with SIGTERM, wait until they have drained, then stop Redis. A second call does nothing."""
        while self._workers:
            child, _ = self._workers.pop()
            child.stop(_DRAIN_TIMEOUT_S)
        if self._redis is not None:
            self._redis.stop()

    def check(self) -> None:
        """Raise ``StackFailed`` if a worker or Redis has ended."""
        for child, _ in self._workers:
            if child.exit_code is not None:
                raise StackFailed(f"{child.name} ended with {child.exit_code}:\n{child.log_tail()}")
        if self._redis is None or not self._redis.alive:
            raise StackFailed("redis-server has ended")

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(child.pid for child, _ in self._workers)

    def _build(self) -> None:
        self.logs.mkdir(parents=True)
        self._redis = RedisServer(self.directory / "redis", self.logs)
        wanted = {SERVICE_TOKEN: (SERVICE_KEY_KIND, SERVICE_KEY_LABEL)}
        wanted |= {tenant.name: (tenant.kind, tenant.label) for tenant in TENANTS}
        with ThreadPoolExecutor() as pool:
            created = pool.map(lambda name: self._token_with_key(name, *wanted[name]), wanted)
            by_name = dict(zip(wanted, created, strict=True))
        service_key = by_name[SERVICE_TOKEN][1]
        self._write_tenants(self._redis, {name: key for name, (_, key) in by_name.items()})
        ports = _free_ports(self._worker_count)
        files = [
            self.config,
            *(self.directory / f"sigmill-{i}.toml" for i in range(2, self._worker_count + 1)),
        ]
        for i, (file, port) in enumerate(zip(files, ports, strict=True), start=1):
            text = service_file(
                redis=self._redis,
                tokens={name: token for name, (token, _) in by_name.items()},
                service_key=service_key,
                metrics_port=port,
                state_dir=f"state-{i}",
            )
            file.write_text(text, "utf-8")
            load_configuration(file)
            self._workers.append((self._start_worker(i, file), port))

    def _token_with_key(self, name: str, kind: KeyKind, label: str) -> tuple[TokenSettings, PublicKey]:
        token = make_token(self.directory / "tokens" / name, name, sessions=_SESSIONS)
        key = TokenAdmin(name, token, self.directory / "state-1").create(kind, label)
        return token, PublicKey.from_spki(key.public_key)

    def _write_tenants(self, redis: RedisServer, keys: dict[str, PublicKey]) -> None:
        folder = self.directory / "tenants"
        folder.mkdir()
        for tenant in TENANTS:
            client = ClientKey.generate()
            text = tenant_text(tenant, keys[tenant.name], client)
            (folder / f"{tenant.name}.toml").write_text(text, "utf-8")
            client_folder = self.directory / "clients" / tenant.name
            self.clients[tenant.name] = write_client(
                client_folder, tenant, client, redis, keys[SERVICE_TOKEN]
            )
            self.public_keys[tenant.name] = keys[tenant.name]

    def _start_worker(self, number: int, file: Path) -> Child:
        command = [sys.executable, "-I", "-m", "workers.cli", "worker", "--config", str(file)]
        return Child(f"worker-{number}", command, self.logs / f"worker-{number}.log")

    def _wait_until_ready(self) -> None:
        """Wait until every worker can claim and has published the key directories."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        for child, port in self._workers:
            while _get(port, "/readyz") is None or _published(port) < len(TENANTS):
                self.check()
                if time.monotonic() > deadline:
                    raise StackFailed(
                        f"{child.name} was not ready within {_READY_TIMEOUT_S:.0f} s:\n{child.log_tail()}"
                    )
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
    """Distinct ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
