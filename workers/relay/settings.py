"""``relay.toml``: the settings of a relay."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Self

from msgspec import Meta, Struct
from msgspec.structs import force_setattr, replace

from queueing.config.addresses import bare_host
from queueing.config.redis import RedisConfig
from queueing.config.secrets import secret_path
from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from queueing.protocol.names import Name
from workers.config.settings import LoggingSettings, MetricsSettings
from workers.https.certificate import TlsFiles

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings without unknown keys."""


class TlsSettings(_Strict, frozen=True):
    """``[tls]``: the relay's certificate chain and its key, in PEM. ``client_ca_file``: only clients with a certificate of it."""

    certificate_file: str
    private_key_file: str
    client_ca_file: str | None = None

    def files(self, file: str = "relay.toml") -> TlsFiles:
        """The files of the table, as a server takes them. ``file``: name of the settings' file, for errors."""
        return TlsFiles(
            certificate=Path(self.certificate_file),
            private_key=Path(self.private_key_file),
            client_ca=None if self.client_ca_file is None else Path(self.client_ca_file),
            file=file,
            certificate_key="tls.certificate_file",
            client_ca_key="tls.client_ca_file",
        )


class RelayLimits(_Strict, frozen=True):
    """``[limits]``. ``waiting_clients``: polls at once; ``requests``: other requests at once; more are asked to come later.

    A tenant among several has at most three quarters of the polls and half of the other requests, less while others have many,
    and so have the tenants of one Redis together where there are several.

    ``connections``: more are closed. ``header_s`` and ``body_s``: longest time from a connection or an answer to the end of the
    next request's headers, and to the end of its body. A client that does not read an answer within ``body_s`` is cut, too.
    """

    waiting_clients: Annotated[int, Meta(ge=1, le=100_000)] = 12_000
    requests: Annotated[int, Meta(ge=1, le=10_000)] = 256
    connections: Annotated[int, Meta(ge=1, le=200_000)] = 16_000
    header_s: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    body_s: Annotated[float, Meta(ge=0.1, le=300)] = 10.0


class RelayTenantSettings(_Strict, frozen=True):
    """``[tenants.NAME]``: the tenant's queue, as the tenant's own Redis user. ``waiting_clients``: its share of the polls.

    Without it, a tenant among several has at most three times as many as are free beside them.
    """

    redis: RedisConfig
    waiting_clients: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class RelayMetricsSettings(MetricsSettings, frozen=True):
    """``[metrics]``: address of ``/metrics``, ``/healthz`` and ``/readyz``; port 0 is any free port."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 9466


class RelaySettings(_Strict, frozen=True, kw_only=True):
    """The settings of one relay process. Read from a file, every path in it is absolute.

    ``audience``: the service's; envelopes for another one are refused. ``drain_s``: longest time from SIGTERM to the end.
    """

    audience: Annotated[str, Meta(min_length=1, max_length=128)]
    host: str = "0.0.0.0"  # noqa: S104 - it is there to be reached
    port: Annotated[int, Meta(ge=0, le=65535)] = 8443
    drain_s: Seconds = 10.0
    tls: TlsSettings
    limits: RelayLimits = RelayLimits()
    tenants: Annotated[dict[Name, RelayTenantSettings], Meta(min_length=1, max_length=1000)]
    metrics: RelayMetricsSettings = RelayMetricsSettings()
    logging: LoggingSettings = LoggingSettings()

    def __post_init__(self) -> None:
        """Take an IPv6 address in brackets, too."""
        force_setattr(self, "host", bare_host(self.host))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and check ``relay.toml``; raises ``ConfigError``."""
        settings = convert(path, "", read_toml(path), cls)
        base = path.absolute().parent
        tls = settings.tls
        return replace(
            settings,
            tls=replace(
                tls,
                certificate_file=secret_path(base, tls.certificate_file),
                private_key_file=secret_path(base, tls.private_key_file),
                client_ca_file=None if tls.client_ca_file is None else str(base / tls.client_ca_file),
            ),
            tenants={
                name: replace(tenant, redis=_redis(path, name, tenant.redis).relative_to(base))
                for name, tenant in settings.tenants.items()
            },
        )

    def own_shares(self) -> dict[str, int]:
        """Waiting clients of the tenants for which the file says so."""
        shares = ((name, tenant.waiting_clients) for name, tenant in self.tenants.items())
        return {name: share for name, share in shares if share is not None}

    def redis_of(self) -> dict[str, Hashable]:
        """All tenants, with the address of the Redis of each: tenants with an equal one have the same outages."""
        return {name: _address(tenant.redis) for name, tenant in self.tenants.items()}


def _address(redis: RedisConfig) -> Hashable:
    if redis.sentinel is not None:
        return frozenset(redis.sentinel.nodes), redis.sentinel.primary
    if redis.cluster is not None:
        return frozenset(redis.cluster)
    return redis.unix_socket or (redis.host, redis.port)


def _redis(path: Path, tenant: str, redis: RedisConfig) -> RedisConfig:
    if redis.places() != 1:
        raise ConfigError(
            str(path),
            f"tenants.{tenant}.redis",
            f"{redis.places()} places are named",
            "Give one of `host`, `unix_socket`, `sentinel`, `cluster`.",
        )
    return redis
