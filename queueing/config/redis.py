"""Settings of Redis in a configuration file. Apart from the connection: a lane reads them, and connects to none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import force_setattr, replace

from queueing.config.accept_level import AcceptLevel, ReplicaWait
from queueing.config.addresses import bare_host, split_port
from queueing.config.secrets import secret_path
from queueing.errors import ConfigError


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS to Redis; the server's name is always checked against its certificate."""

    ca_file: str
    cert_file: str | None = None
    key_file: str | None = None


class SentinelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sentinels as ``host:port`` or ``[address]:port``, and the name under which they know the primary."""

    nodes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    primary: str
    username: str | None = None
    password_file: str | None = None

    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each node; raises ``ConfigError`` for one without a port."""
        return [split_port("[redis.sentinel]", "nodes", node) for node in self.nodes]


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Address and credentials of Redis. Exactly one of ``unix_socket``, ``host``, ``sentinel`` and ``cluster`` is set.

    ``cluster``: some nodes of a Redis Cluster as ``host:port`` or ``[address]:port``; the others are learned from them.

    ``accept``: when a write counts, a client's submit or a worker's commit. ``replicated`` asks that ``replicas``
    have it within ``replica_timeout_s`` (a ``WAIT`` in the same round trip; below the connection's own time-out).
    """

    host: str | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 6379
    unix_socket: str | None = None
    database: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    username: str | None = None
    password_file: str | None = None
    tls: TlsConfig | None = None
    sentinel: SentinelConfig | None = None
    cluster: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    accept: AcceptLevel = AcceptLevel.LOCAL
    replicas: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    replica_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=1.5)] = 0.5

    def __post_init__(self) -> None:
        """Take an IPv6 address in brackets, too."""
        if self.host is not None:
            force_setattr(self, "host", bare_host(self.host))

    def replica_wait(self) -> ReplicaWait | None:
        """The replicas that a write waits for; None under ``local``."""
        if self.accept is AcceptLevel.LOCAL:
            return None
        return ReplicaWait(replicas=self.replicas, timeout_s=self.replica_timeout_s)

    def places(self) -> int:
        """Number of addresses that are set; one is right."""
        return sum(place is not None for place in (self.host, self.unix_socket, self.sentinel, self.cluster))

    def cluster_nodes(self) -> list[tuple[str, int]]:
        """Host and port of each node of the cluster that is named; raises ``ConfigError`` for one without a port."""
        return [split_port("[redis]", "cluster", node) for node in self.cluster or ()]

    def relative_to(self, folder: Path) -> RedisConfig:
        """Copy of the settings, with relative file names taken from ``folder``.

        Raises ``ConfigError`` for a Sentinel or a node of a cluster without a port, and for a database of a cluster.
        """
        self.cluster_nodes()
        if self.cluster is not None and self.database:
            raise ConfigError(
                "[redis]", "database", "a Redis Cluster has one database only, 0", "Remove `database`."
            )

        def path(name: str | None) -> str | None:
            return None if name is None else str(folder / name)

        def secret(name: str | None) -> str | None:
            return None if name is None else secret_path(folder, name)

        tls, sentinel = self.tls, self.sentinel
        if tls is not None:
            ca_file = str(folder / tls.ca_file)
            tls = replace(tls, ca_file=ca_file, cert_file=path(tls.cert_file), key_file=secret(tls.key_file))
        if sentinel is not None:
            sentinel.addresses()
            sentinel = replace(sentinel, password_file=secret(sentinel.password_file))
        places = {"unix_socket": path(self.unix_socket), "password_file": secret(self.password_file)}
        return replace(self, tls=tls, sentinel=sentinel, **places)
