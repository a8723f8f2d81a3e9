"""A private stack in one directory: Redis, tokens, keys, configuration and workers, started and stopped together."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.public_keys import PublicKey
from workers.config.loading import load_configuration
from workers.dev.config_files import service_file, tenant_text, token_client, write_client
from workers.dev.issuer_process import IssuerProcess
from workers.dev.redis_server import RedisServer
from workers.dev.relay_process import RelayProcess
from workers.dev.softhsm import make_token
from workers.dev.tenants import (
    AUDIENCE,
    ISSUER_KEY_LABEL,
    ISSUER_TOKEN,
    SERVICE_KEY_KIND,
    SERVICE_KEY_LABEL,
    SERVICE_TOKEN,
    TENANTS,
)
from workers.dev.token_provider import TokenProvider
from workers.dev.worker_process import WorkerProcess, free_ports
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from workers.config.settings import TokenSettings

_SESSIONS: Final = 2


class Stack:
    """A private stack. Use it as a context manager in the main thread: leaving it stops everything.

    ``directory`` must be empty, and short enough for the path of a unix socket; it is not removed. After entering,
    ``clients`` has a ``client.toml`` per tenant, ``public_keys`` the pinned key per tenant, and ``config`` is the
    first worker's configuration file, ``other_configs`` those of further workers. With ``edge`` a relay, an issuer and a provider of tokens are started: ``relay_clients`` has
    a ``client.toml`` per tenant that signs over HTTPS, ``token_clients`` one that has a token of the provider alone; the caller
    calls ``refresh`` about once a second, which keeps the tokens fresh. With ``record`` the workers keep a record, and ``service_keys``
    has the service's public key as its verification takes it.
    """

    def __init__(
        self, directory: Path, *, workers: int = 1, edge: bool = False, record: bool = False
    ) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.config = directory / "sigmill.toml"
        self.other_configs = [directory / f"sigmill-{i}.toml" for i in range(2, workers + 1)]
        self.clients: dict[str, Path] = {}
        self.public_keys: dict[str, PublicKey] = {}
        self.relay_clients: dict[str, Path] = {}
        self.token_clients: dict[str, Path] = {}
        self._worker_count = workers
        self._with_edge = edge
        self.with_record = record
        self.service_keys = directory / "service.keys"
        self._edge: list[RelayProcess | IssuerProcess] = []
        self._provider: TokenProvider | None = None
        self._redis: RedisServer | None = None
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        try:
            self._build()
            for worker in self._workers:
                worker.wait_until_ready(len(TENANTS), self._redis)
            for each in self._edge:
                each.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the workers with SIGTERM, wait until they have drained, then stop Redis. A second call does nothing."""
        while self._edge:
            self._edge.pop().stop()
        while self._workers:
            self._workers.pop().stop()
        if self._redis is not None:
            self._redis.stop()

    def check(self) -> None:
        """Raise ``WorkerFailed``, ``RedisEnded``, ``RelayFailed`` or ``IssuerFailed`` if one of them has ended."""
        for worker in self._workers:
            worker.check()
        if self._redis is not None:
            self._redis.check()
        for each in self._edge:
            each.check()

    def refresh(self) -> None:
        """Replace tokens that are a minute old."""
        if self._provider is not None:
            self._provider.refresh()

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in self._workers)

    def _build(self) -> None:
        self.logs.mkdir(parents=True)
        self._redis = RedisServer(self.directory / "redis", self.logs)
        wanted = {SERVICE_TOKEN: (SERVICE_KEY_KIND, SERVICE_KEY_LABEL)}
        wanted |= {tenant.name: (tenant.kind, tenant.label) for tenant in TENANTS}
        if self._with_edge:
            wanted[ISSUER_TOKEN] = (KeyKind.P256, ISSUER_KEY_LABEL)
        with ThreadPoolExecutor() as pool:
            created = pool.map(lambda name: self._token_with_key(name, *wanted[name]), wanted)
            by_name = dict(zip(wanted, created, strict=True))
        service_key = by_name[SERVICE_TOKEN][1]
        self.service_keys.write_text(f"{base64.b64encode(service_key.spki).decode()}\n", "ascii")
        self._write_tenants(self._redis, {name: key for name, (_, key) in by_name.items()})
        issuer = by_name.pop(ISSUER_TOKEN, None)
        ports = free_ports(self._worker_count)
        files = [self.config, *self.other_configs]
        for i, (file, port) in enumerate(zip(files, ports, strict=True), start=1):
            text = service_file(
                redis=self._redis,
                tokens={name: token for name, (token, _) in by_name.items()},
                service_key=service_key,
                metrics_port=port,
                state_dir=f"state-{i}",
                record=self.with_record,
            )
            file.write_text(text, "utf-8")
            load_configuration(file)
            self._workers.append(WorkerProcess(i, file, port=port, logs=self.logs))

        if issuer is not None:
            self._start_edge(self._redis, issuer, service_key)

    def _start_edge(
        self, redis: RedisServer, issuer: tuple[TokenSettings, PublicKey], service: PublicKey
    ) -> None:
        relay_port, relay_metrics, *issuer_ports = free_ports(4)
        relay = RelayProcess(
            self.directory / "relay",
            audience=AUDIENCE,
            tenants={tenant.name: redis for tenant in TENANTS},
            port=relay_port,
            metrics_port=relay_metrics,
            logs=self.logs,
        )
        self._edge.append(relay)
        granting = IssuerProcess(
            self.directory / "issuer",
            token=issuer[0],
            public_key=issuer[1],
            ports=(issuer_ports[0], issuer_ports[1]),
            tenants_dir=self.directory / "tenants",
            logs=self.logs,
        )
        self._edge.append(granting)
        for tenant in TENANTS:
            direct = self.clients[tenant.name]
            self.relay_clients[tenant.name] = relay.client_file(direct, "relay-client.toml")
            folder = direct.with_name("by-token")
            folder.mkdir(mode=0o700)
            place = f'issuer = {{ url = "{granting.url}", ca_file = {json.dumps(str(granting.ca_file))} }}'
            made = self.token_clients[tenant.name] = folder / "client.toml"
            made.write_text(token_client(tenant, service, relay=relay.place, issuer=place), "utf-8")
        tokens = {name: file.with_name("token") for name, file in self.token_clients.items()}
        self._provider = TokenProvider(granting.keys_dir, tokens)
        self._provider.refresh()

    def _token_with_key(self, name: str, kind: KeyKind, label: str) -> tuple[TokenSettings, PublicKey]:
        token = make_token(self.directory / "tokens" / name, name, sessions=_SESSIONS)
        key = TokenAdmin(name, token, self.directory / "state-1").create(kind, label)
        return token, PublicKey.from_spki(key.public_key)

    def _write_tenants(self, redis: RedisServer, keys: dict[str, PublicKey]) -> None:
        folder = self.directory / "tenants"
        folder.mkdir()
        for tenant in TENANTS:
            client = ClientKey.generate()
            text = tenant_text(tenant, keys[tenant.name], client, keys.get(ISSUER_TOKEN))
            (folder / f"{tenant.name}.toml").write_text(text, "utf-8")
            client_folder = self.directory / "clients" / tenant.name
            self.clients[tenant.name] = write_client(
                client_folder, tenant, client, redis, keys[SERVICE_TOKEN]
            )
            self.public_keys[tenant.name] = keys[tenant.name]
