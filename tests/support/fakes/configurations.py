"""Configurations in memory, for tests of parts that only read some of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from queueing.config.redis import RedisConfig
from tests.support.fakes.config_files import p256_key
from workers.config.loading import Configuration
from workers.config.service_file import ServiceConfiguration, ServiceKey
from workers.config.settings import (
    ExporterSettings,
    LoggingSettings,
    LogSettings,
    MetricsSettings,
    RecordSettings,
    WorkerSettings,
)
from workers.config.tenant_limits import TenantLimits
from workers.config.tenants import Tenant, TenantKey
from workers.current_config import CurrentConfig


def tenant(
    name: str, *, limits: TenantLimits | None = None, keys: dict[str, TenantKey] | None = None
) -> Tenant:
    """A tenant of the class ``standard``, without clients."""
    return Tenant(
        name=name,
        epoch=1,
        suspended=False,
        max_envelope_age_ms=60_000,
        clients={},
        keys=keys or {},
        limits=limits or TenantLimits(),
        tenant_class="standard",
    )


def configuration(
    tenants: Iterable[Tenant] = (),
    *,
    worker: WorkerSettings | None = None,
    state_dir: Path = Path("/nowhere"),
) -> Configuration:
    """A service with the audience ``test``, no tokens, and these tenants."""
    folder = Path("/nowhere")
    service = ServiceConfiguration(
        file=folder / "service.toml",
        audience="test",
        epoch=1,
        state_dir=state_dir,
        tenants_dir=folder,
        redis=RedisConfig(),
        service_key=ServiceKey(token="service", public_key=p256_key(99)),
        tokens={},
        operators={},
        hsms={},
        worker=worker or WorkerSettings(),
        log=LogSettings(),
        logging=LoggingSettings(),
        metrics=MetricsSettings(),
        exporter=ExporterSettings(),
        record=RecordSettings(),
    )
    return Configuration(service=service, tenants={each.name: each for each in tenants})


def current_config(tenants: Iterable[Tenant] = (), *, worker: WorkerSettings | None = None) -> CurrentConfig:
    """The same, in force."""
    return CurrentConfig(configuration(tenants, worker=worker))
