"""The service on real parts: Redis, SoftHSM tokens, configuration files, and workers that a test starts and ends.

Built from the pieces of ``workers.dev``, but in the test's hands: which tokens and settings, how many workers,
when they start and how they end.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from arq.connections import ArqRedis
from prometheus_client.parser import text_string_to_metric_families

from queueing import ClientConfig, ClientKey, SigningClient
from queueing.config.redis import RedisConfig
from queueing.protocol.algorithms import KeyKind
from queueing.redis.connection import connect
from tests.support.hsm.tokens import Token, TokenShelf
from tests.support.ports import free_port
from tests.support.redis.process import RedisProcess
from tests.support.rig.processes import command_of, descendants
from tests.support.waiting import until
from workers.config.loading import Configuration, load_configuration
from workers.config.settings import TokenSettings
from workers.dev.child_process import Child
from workers.dev.config_files import service_file, tenant_text, write_client
from workers.dev.private_files import write_private
from workers.dev.tenants import AUDIENCE, CLIENT, SERVICE_KEY_KIND, SERVICE_KEY_LABEL, DevTenant
from workers.telemetry.log_events import EVENTS

ANSWER_S: Final = 20.0
"""Time in which a page comes also from a machine that is busy with other tests."""


@dataclass(slots=True)
class WorkerProcess:
    """A running ``sigmill worker``."""

    child: Child
    port: int

    @property
    def pid(self) -> int:
        return self.child.pid

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the exporter; (0, '') where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    @property
    def ready(self) -> bool:
        return self.get("/readyz")[0] == http.client.OK

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; NaN, which is no number's equal, of a worker
        that does not answer. A name that no worker has is a mistake of the test.
        """
        status, text = self.get("/metrics")
        if status != http.client.OK:
            return math.nan
        families = list(text_string_to_metric_families(text))
        assert any(name.startswith(family.name) for family in families), f"no metric is called {name}"
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def lanes(self) -> dict[str, list[int]]:
        """The process ids of its lanes, by token."""
        found: dict[str, list[int]] = {}
        for pid in descendants(self.pid):
            words = command_of(pid)
            if "workers.lanes" in words:
                found.setdefault(words[words.index("--token") + 1], []).append(pid)
        return found

    def log(self) -> str:
        """Its whole lines so far; of a worker that has ended, also what a kill cut off."""
        ended = not self.alive
        text = self.child.log.read_text(errors="replace")
        return text if ended else "".join(text.rpartition("\n")[:2])

    def events(self, name: str) -> int:
        """Number of log lines with this event."""
        return self.log().count(f'"event": "{name}"')

    @property
    def alive(self) -> bool:
        return self.child.exit_code is None

    @property
    def cpu_s(self) -> float:
        """CPU time of the process so far, in seconds: a busy machine does not raise it."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mib(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


def events_in(log: Path) -> set[str]:
    """The names of all events in a log; a line that a kill cut off has none, nor has a module's own talk."""
    found = set()
    for line in log.read_text(errors="replace").splitlines():
        try:
            found.add(str(json.loads(line)["event"]))
        except (ValueError, TypeError, KeyError):
            continue
    return found


@dataclass(frozen=True, slots=True)
class _RedisPlace:
    """Address of a redis-server for ``service_file`` and ``write_client``."""

    socket: Path
    password_file: Path


@dataclass(slots=True, kw_only=True)
class Rig:
    """A whole service in ``directory``. ``tenants`` name those with a key ``release`` in a token of their own.

    ``worker``: settings for ``[worker]``. ``token``: further lines for ``[tokens.NAME]``, by name.
    ``tokens``: those that a test made itself, by name; the others come from the shelf.
    ``wrap``: changes a token's settings, to put another module before it. ``more``: text at the end of a
    tenant's file. ``redis_user``: as whom workers connect. ``service``: more tables of sigmill.toml.
    ``redis_table``: the lines of ``[redis]`` for workers and clients, instead of those that name ``redis``.
    """

    directory: Path
    redis: RedisProcess
    shelf: TokenShelf
    tenants: Mapping[str, KeyKind] = field(default_factory=lambda: {"acme": KeyKind.P256})
    worker: Mapping[str, float] = field(default_factory=dict)
    token: Mapping[str, str] = field(default_factory=dict)
    wrap: Callable[[TokenSettings], TokenSettings] = lambda settings: settings
    more: Mapping[str, str] = field(default_factory=dict)
    service: str = ""
    redis_user: RedisConfig | None = None
    redis_table: str = ""
    tokens: dict[str, Token] = field(default_factory=dict)
    keys: dict[str, ClientKey] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        wanted = {
            name: {f"{name}.release.v1": kind}
            for name, kind in self.tenants.items()
            if name not in self.tokens
        }
        self.tokens |= self.shelf.get(service={SERVICE_KEY_LABEL: SERVICE_KEY_KIND}, **wanted)
        write_private(self.directory / "redis-password", f"{self.redis.password or ''}\n")
        (self.directory / "tenants").mkdir()
        for name, kind in self.tenants.items():
            self._write_tenant(DevTenant(name=name, kind=kind))
        return self

    def __exit__(self, *failure: object) -> None:
        """SIGKILL to the workers, which their lanes do not outlive: an orderly end is a test's own matter.

        Whatever they logged is in the table of events.
        """
        logs = {worker.child.log for worker in self.workers}
        while self.workers:
            worker = self.workers.pop()
            if worker.alive:
                worker.child.kill()
        if not any(failure):
            strays = {event for log in logs for event in events_in(log)} - EVENTS.keys()
            assert not strays, f"not in workers/telemetry/log_events.py: {strays}"

    @property
    def place(self) -> _RedisPlace:
        return _RedisPlace(self.redis.socket_path, self.directory / "redis-password")

    def tenant_file(self, name: str) -> Path:
        return self.directory / "tenants" / f"{name}.toml"

    def _write_tenant(self, tenant: DevTenant) -> None:
        self.keys[tenant.name] = ClientKey.generate()
        key = self.tokens[tenant.name].keys[f"{tenant.name}.release.v1"]
        text = tenant_text(tenant, key, self.keys[tenant.name]) + self.more.get(tenant.name, "")
        self.tenant_file(tenant.name).write_text(text)
        service = self.tokens["service"].keys[SERVICE_KEY_LABEL]
        folder = self.directory / "clients" / tenant.name
        file = write_client(folder, tenant, self.keys[tenant.name], self.place, service)
        file.write_text(self._with_table(file.read_text()))

    def _with_table(self, text: str) -> str:
        """The file, with ``redis_table`` where that is given."""
        if not self.redis_table:
            return text
        password_file = self.directory / "redis-password"
        named = f'unix_socket = "{self.redis.socket_path}"\npassword_file = "{password_file}"\n'
        assert named in text
        return text.replace(named, f'password_file = "{password_file}"\n{self.redis_table}')

    def config(self, number: int = 1, port: int = 0) -> Path:
        """The configuration file of worker ``number``, written anew; each has a state directory of its own."""
        text = service_file(
            redis=self.place,
            tokens={name: self.wrap(token.settings) for name, token in self.tokens.items()},
            service_key=self.tokens["service"].keys[SERVICE_KEY_LABEL],
            metrics_port=port,
            state_dir=f"state-{number}",
        )
        text = self._with_table(text)
        if self.redis_user is not None:
            user, password = self.redis_user.username, self.redis_user.password_file
            before = f'password_file = "{self.directory / "redis-password"}"'
            text = text.replace(before, f'username = "{user}"\npassword_file = "{password}"')
        for name, lines in self.token.items():
            text = text.replace(f"[tokens.{name}]\n", f"[tokens.{name}]\n{lines}\n")
        settings = {"slow_poll_s": 0.2, **self.worker}
        text += "\n[worker]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
        file = self.directory / f"sigmill-{number}.toml"
        file.write_text(text + self.service)
        return file

    def load(self, number: int = 1) -> Configuration:
        """The configuration as the processes read it."""
        return load_configuration(self.config(number))

    def state_dir(self, number: int = 1) -> Path:
        return self.directory / f"state-{number}"

    def start_worker(
        self, number: int = 1, *, ready: bool = True, before: Sequence[str] = ()
    ) -> WorkerProcess:
        """Start worker ``number`` and wait until it is ready. ``before``: words that run its command as they say."""
        port = free_port()
        words = [*self.program(number), "worker", "--config", str(self.config(number, port))]
        output = self.output_of(number)
        child = Child(f"worker-{number}", [*before, sys.executable, *words], output, self.environment)
        child.log = self.directory / f"worker-{number}.log"
        worker = WorkerProcess(child, port)
        self.workers.append(worker)
        if ready:
            until(lambda: worker.ready or not worker.alive, "the worker is ready")
            assert worker.alive, worker.child.log_tail(30)
        return worker

    def output_of(self, number: int) -> Path:
        """Destination of a worker's output: its log, or a pipe to a reader that writes that."""
        return self.directory / f"worker-{number}.log"

    def program(self, number: int) -> list[str]:
        """Arguments that make Python run ``sigmill``."""
        return ["-I", "-m", "workers.cli"]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a worker that other children do not get."""
        return {}

    def client_config(self, tenant: str) -> ClientConfig:
        return ClientConfig.from_file(self.directory / "clients" / tenant / "client.toml")

    def client(self, tenant: str = "acme") -> SigningClient:
        """A client of the tenant, to be opened with ``async with``."""
        return SigningClient(self.client_config(tenant), self.keys[tenant])

    def connect(self) -> ArqRedis:
        """A pool to the rig's Redis, as our own factory makes it."""
        password_file = str(self.directory / "redis-password")
        if self.redis_table:
            table = tomllib.loads(self.redis_table) | {"password_file": password_file}
            return connect(msgspec.convert(table, RedisConfig))
        return connect(RedisConfig(unix_socket=str(self.redis.socket_path), password_file=password_file))


MakeRig = Callable[..., Rig]
"""``make_rig(appendonly=…, **settings of Rig)``: a fixture's function; everything ends with the test."""


def client_block(name: str, key: ClientKey, *, expires: str = "2099-01-01T00:00:00Z", state: str = "") -> str:
    """A client for a tenant's file."""
    public = base64.b64encode(key.public_spki).decode()
    lines = [f"[clients.{name}]", f'public_key = "{public}"', f"expires = {expires}"]
    lines += [f'state = "{state}"'] if state else []
    return "\n".join(["", *lines, ""])


def key_block(name: str, token: str, key: Any, algorithms: list[str], **more: str) -> str:
    """A key with one version for a tenant's file; ``more`` are further lines of the version."""
    quoted = ", ".join(f'"{algorithm}"' for algorithm in algorithms)
    version = {"version": "1", "state": '"active"', **more}
    lines = [
        f"[keys.{name}]",
        'clients = ["*"]',
        f"algorithms = [{quoted}]",
        'profile = "internal"',
        f"[[keys.{name}.versions]]",
    ]
    lines += [f"{field} = {value}" for field, value in version.items()]
    lines += [f'public_key = "{base64.b64encode(key.spki).decode()}"']
    lines += [f'public_key_sha256 = "{key.sha256.hex()}"', f'tokens = ["{token}"]']
    return "\n".join(["", *lines, ""])


__all__ = [
    "AUDIENCE",
    "CLIENT",
    "MakeRig",
    "Rig",
    "WorkerProcess",
    "client_block",
    "key_block",
]
