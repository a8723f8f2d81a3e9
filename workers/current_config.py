"""Configuration in force, shared by all parts of the service; a reload replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.config.loading import Configuration
    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant


class CurrentConfig:
    """Holder of the configuration in force. Only the reload calls ``adopt``, on the event loop."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    @property
    def configuration(self) -> Configuration:
        """The whole configuration: the service and its tenants."""
        return self._configuration

    @property
    def service(self) -> ServiceConfiguration:
        """The service's file.

        Its [redis], [worker], [log] and [metrics] apply at start-up: an object that uses one of them later takes it in the
        constructor, because a reload replaces them here. ``directory_ttl_s`` is the exception.
        """
        return self._configuration.service

    @property
    def tenants(self) -> dict[str, Tenant]:
        """The tenants by name."""
        return self._configuration.tenants

    def adopt(self, configuration: Configuration) -> list[str]:
        """Replace the configuration; returns the names of the tenants that are new or changed."""
        before, self._configuration = self._configuration, configuration
        return [name for name, tenant in configuration.tenants.items() if tenant != before.tenants.get(name)]
