"""``--tenant`` where it chooses among those that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.tenants import Tenant


def chosen_tenants(configuration: Configuration, tenant: str | None) -> list[Tenant]:
    """The one of this name, or all; ``ConfigError`` where there is none."""
    if tenant is None:
        return list(configuration.tenants.values())
    if tenant not in configuration.tenants:
        raise ConfigError(
            str(configuration.service.tenant_file(tenant)), "", "there is no such tenant", "Check its name."
        )
    return [configuration.tenants[tenant]]
