"""Settings of a relay with small limits."""

from __future__ import annotations

from msgspec.structs import replace

from queueing.config.redis import RedisConfig
from workers.relay.settings import RelayLimits, RelaySettings, RelayTenantSettings, TlsSettings


def settings(**tenants: int | None) -> RelaySettings:
    """A relay for these tenants, with the share of each in its four waiting clients; two requests at once."""
    redis = RedisConfig(host="queue.example")
    return RelaySettings(
        audience="a",
        tls=TlsSettings(certificate_file="c", private_key_file="k"),
        limits=RelayLimits(waiting_clients=4, requests=2),
        tenants={
            name: RelayTenantSettings(redis=redis, waiting_clients=share) for name, share in tenants.items()
        },
    )


def at_hosts(made: RelaySettings, **hosts: str) -> RelaySettings:
    """The settings with the Redis of these tenants at other hosts."""
    moved = {name: replace(made.tenants[name], redis=RedisConfig(host=host)) for name, host in hosts.items()}
    return replace(made, tenants={**made.tenants, **moved})
