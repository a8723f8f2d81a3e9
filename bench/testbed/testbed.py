"""Testbed: Redis, workers and clients around the tokens of a keyring, as a user would run them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench.hsm.keyring import KeptFile, Keyring
from bench.measurement.procfs import all_processes, tree
from bench.queue.redis_probe import RedisProbe
from bench.testbed.config_files import BenchTenant, ClientFiles, service_text, tenant_text, write_clients
from bench.testbed.failover import RedisNodes, Watched
from bench.testbed.replicas import Replication, follow
from queueing.protocol.client_keys import ClientKey
from workers.dev.redis_server import RedisServer
from workers.dev.worker_process import WorkerProcess, free_ports


class BenchTestbed:
    """A running stack with the given tenants. A context manager, for the main thread.

    Each tenant has a token of its own name; lanes start when first needed. Every worker serves every tenant. ``service``:
    more tables of the workers' files. ``replication``: replicas of Redis and the accept level of workers and clients, or three nodes
    that Sentinels watch; without it Redis is alone.
    """

    def __init__(
        self,
        directory: Path,
        keyring: Keyring,
        tenants: Sequence[BenchTenant],
        *,
        workers: int = 1,
        service: str = "",
        replication: Replication | Watched | None = None,
    ) -> None:
        self._service = service
        self._replication = replication
        self.directory = directory
        self.clients: dict[str, ClientFiles] = {}
        self.tenants = {tenant.name: tenant for tenant in tenants}
        self.keyring = keyring
        self._worker_count = workers
        self._server: RedisServer | RedisNodes | None = None
        self._probe: RedisProbe | None = None
        self._replicas: list[RedisServer] = []
        self._workers: list[WorkerProcess] = []
        self._ports: list[int] = []

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
        """The testbed's Redis: where it listens. Not behind Sentinels."""
        assert isinstance(self._server, RedisServer)
        return self._server

    @property
    def nodes(self) -> RedisNodes:
        """The testbed's Redis behind Sentinels."""
        assert isinstance(self._server, RedisNodes)
        return self._server

    @property
    def redis_pids(self) -> list[int]:
        """Processes of Redis, and its Sentinels."""
        assert self._server is not None
        return self._server.pids if isinstance(self._server, RedisNodes) else [self._server.pid]

    @property
    def worker_pids(self) -> list[int]:
        """The workers."""
        return [worker.pid for worker in self._workers]

    @property
    def state_dirs(self) -> list[Path]:
        """State directories of the workers."""
        return [self.directory / f"state-{number}" for number in range(1, self._worker_count + 1)]

    @property
    def state_dir(self) -> Path:
        """State directory of the first worker."""
        return self.state_dirs[0]

    def lane_pids(self) -> list[int]:
        """Process ids of the lanes that the workers have started."""
        workers = set(self.worker_pids)
        return sorted(tree(workers, all_processes()) - workers)

    def metrics(self) -> str:
        """Metrics page of the first worker."""
        return self._workers[0].page("/metrics") or ""

    def check(self) -> None:
        """Raise ``WorkerFailed`` if a worker exited unexpectedly."""
        for worker in self._workers:
            worker.check()

    def kill_worker(self) -> None:
        """Kill the first worker, as the kernel does for want of memory: its lanes and its sealer end with it."""
        self._workers[0].kill()

    def start_worker_again(self) -> None:
        """Start the first worker again, without waiting for it, as its unit does."""
        self._workers[0] = self._worker(1, self._ports[0])

    def stop(self) -> None:
        """Drain and end the workers, then the replicas and Redis."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop()
        if self._probe is not None:
            self._probe.close()
        for replica in self._replicas:
            replica.stop()
        self._replicas.clear()
        if self._server is not None:
            self._server.stop()
        self._probe = self._server = None

    def _start(self) -> None:
        logs = self.directory / "logs"
        logs.mkdir(parents=True)
        tenants = self._with_keys()
        self._start_redis(logs)
        assert self._server is not None
        self._write_tenants(tenants)
        self._ports = free_ports(self._worker_count)
        for number, port in enumerate(self._ports, start=1):
            text = service_text(
                self._server,
                self.keyring.service,
                tenants,
                metrics_port=port,
                state_dir=f"state-{number}",
            )
            self._file(number).write_text(self._placed(text) + self._service, "utf-8")
            self._workers.append(self._worker(number, port))
        alone = self._server if isinstance(self._server, RedisServer) else None
        for worker in self._workers:
            worker.wait_until_ready(len(self.tenants), alone)

    def _file(self, number: int) -> Path:
        return self.directory / f"sigmill-{number}.toml"

    def _worker(self, number: int, port: int) -> WorkerProcess:
        return WorkerProcess(number, self._file(number), port=port, logs=self.directory / "logs")

    def _placed(self, text: str) -> str:
        """A configuration file, with the place of this testbed's Redis and its accept level."""
        if isinstance(self._server, RedisNodes):
            return self._server.placed(text)
        return self._replication.in_file(text) if isinstance(self._replication, Replication) else text

    def _with_keys(self) -> list[tuple[BenchTenant, KeptFile]]:
        present = [tenant for tenant in self.tenants.values() if not tenant.absent]
        held = dict(zip(present, self.keyring.several([tenant.kind for tenant in present]), strict=True))
        return [
            (tenant, held.get(tenant) or self.keyring.absent(tenant.name, tenant.kind))
            for tenant in self.tenants.values()
        ]

    def _write_tenants(self, tenants: list[tuple[BenchTenant, KeptFile]]) -> None:
        assert self._server is not None
        folder = self.directory / "tenants"
        folder.mkdir()
        for tenant, held in tenants:
            client = ClientKey.generate()
            text = tenant_text(tenant, held, client)
            (folder / f"{tenant.name}.toml").write_text(text, "utf-8")
            place = self.directory / "clients" / tenant.name
            files = write_clients(place, tenant, client, self._server, self.keyring.service)
            for file in (files.verifying, files.trusting):
                file.write_text(self._placed(file.read_text("utf-8")), "utf-8")
            self.clients[tenant.name] = files

    def _start_redis(self, logs: Path) -> None:
        if isinstance(self._replication, Watched):
            self._server = nodes = RedisNodes(self.directory / "redis", logs)
            self._probe = RedisProbe(nodes.config())
            return
        self._server = server = RedisServer(self.directory / "redis", logs)
        self._probe = RedisProbe(server)
        if self._replication is not None:
            self._start_replicas(self._replication, server, self._probe)

    def _start_replicas(self, replication: Replication, server: RedisServer, probe: RedisProbe) -> None:
        for number in range(1, replication.replicas + 1):
            self._replicas.append(RedisServer(self.directory / f"replica-{number}", self.directory / "logs"))
        follow(probe, server, self._replicas)
