"""Configuration in force, and its replacement."""

from __future__ import annotations

from tests.support.fakes.configurations import configuration, tenant
from workers.config.tenant_limits import TenantLimits
from workers.current_config import CurrentConfig


def test_the_adopted_configuration_is_in_force() -> None:
    """For every part that holds the object."""
    config = CurrentConfig(configuration([tenant("acme")]))
    after = configuration([tenant("globex")])
    config.adopt(after)
    assert config.configuration is after
    assert config.service is after.service
    assert list(config.tenants) == ["globex"]


def test_new_and_changed_tenants_are_named() -> None:
    """Removed and unchanged tenants are not among them."""
    config = CurrentConfig(configuration([tenant("acme"), tenant("globex"), tenant("umbrella")]))
    changed = tenant("acme", limits=TenantLimits(weight=2.0))
    assert config.adopt(configuration([changed, tenant("globex"), tenant("initech")])) == ["acme", "initech"]
