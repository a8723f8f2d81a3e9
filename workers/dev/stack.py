"""A private stack in one directory: Redis, tokens, keys, configuration and workers, started and stopped together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from queueing.protocol.client_keys import ClientKey
from queueing.protocol.public_keys import PublicKey
from workers.config.loading import load_configuration
from workers.dev.config_files import service_file, tenant_text, write_client
from workers.dev.redis_server import RedisServer
from workers.dev.relay_process import RelayProcess
from workers.dev.softhsm import make_token
from workers.dev.tenants import AUDIENCE, SERVICE_KEY_KIND, SERVICE_KEY_LABEL, SERVICE_TOKEN, TENANTS
from workers.dev.worker_process import WorkerProcess, free_ports
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from queueing.protocol.algorithms import KeyKind
    from workers.config.settings import TokenSettings

_SESSIONS: Final = 2


class Stack:
    """A private stack. Use it as a context manager in the main thread: leaving it stops everything.

    ``directory`` must be empty, and short enough for the path of a unix socket; it is not removed. After entering,
    ``clients`` has a ``client.toml`` per tenant, and with ``relay`` ``relay_clients`` one that signs over HTTPS; ``public_keys`` the pinned key per tenant, and ``config`` is the
    first worker's configuration file.
    """

    def __init__(self, directory: Path, *, workers: int = 1, relay: bool = False) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.config = directory / "sigmill.toml"
        self.clients: dict[str, Path] = {}
        self.public_keys: dict[str, PublicKey] = {}
        self.relay_clients: dict[str, Path] = {}
        self._worker_count = workers
        self._with_relay = relay
        self._relay: RelayProcess | None = None
        self._redis: RedisServer | None = None
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        try:
            self._build()
            for worker in self._workers:
                worker.wait_until_ready(len(TENANTS), self._redis)
            if self._with_relay and self._redis is not None:
                self._start_relay(self._redis)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the workers with SIGTERM, wait until they have drained, then stop Redis. A second call does nothing."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.stop()
        while self._workers:
            self._workers.pop().stop()
        if self._redis is not None:
            self._redis.stop()

    def check(self) -> None:
        """Raise ``WorkerFailed``, ``RedisEnded`` or ``RelayFailed`` if one of them has ended."""
        for worker in self._workers:
            worker.check()
        if self._redis is not None:
            self._redis.check()
        if self._relay is not None:
            self._relay.check()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

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
        ports = free_ports(self._worker_count)
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
            self._workers.append(WorkerProcess(i, file, port=port, logs=self.logs))

    def _start_relay(self, redis: RedisServer) -> None:
        port, metrics_port = free_ports(2)
        self._relay = RelayProcess(
            self.directory / "relay",
            audience=AUDIENCE,
            tenants={tenant.name: redis for tenant in TENANTS},
            port=port,
            metrics_port=metrics_port,
            logs=self.logs,
        )
        self._relay.wait_until_ready()
        for name, direct in self.clients.items():
            self.relay_clients[name] = self._relay.client_file(direct, "relay-client.toml")

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
