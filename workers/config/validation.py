"""Validation of the configuration: all errors at once, and the files that the configuration refers to.

Each table of each file (a token, a client, a key) is read separately: its first error is reported, and the other
tables are read nevertheless. Tenants refer to tokens of the service's file, so they are read only if that is valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.config.secrets import Secret, is_for_another_process
from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from workers.config.loading import Configuration, Ownership, tenant_files
from workers.config.service_file import read_service
from workers.config.settings import PinLogin
from workers.config.tenant_file import read_tenant
from workers.config.values import ErrorList

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """Result of a validation; ``configuration`` has the valid tenants, and is None where the service's file is invalid."""

    configuration: Configuration | None
    errors: tuple[ConfigError, ...]


def validate_all(file: Path) -> ConfigReport:
    """Read all files, and check that modules and secret files exist. Shows no secret and logs in to no token."""
    errors = ErrorList()
    service = errors.collect(lambda: read_service(file.resolve(), read_toml(file), errors))
    if service is None:
        return ConfigReport(configuration=None, errors=tuple(errors.all))
    tenants: dict[str, Tenant] = {}
    ownership = Ownership.of_service(service)
    for path in errors.collect(lambda: tenant_files(service)) or []:
        tenant = errors.collect(partial(_tenant, path, service, errors))
        if tenant is not None:
            tenants[tenant.name] = tenant
            errors.collect(partial(ownership.claim, path, tenant))
    errors.all += _broken_references(service)
    return ConfigReport(
        configuration=Configuration(service=service, tenants=tenants), errors=tuple(errors.all)
    )


def _tenant(file: Path, service: ServiceConfiguration, errors: ErrorList) -> Tenant | None:
    return read_tenant(file, read_toml(file), service.tokens, errors)


def _broken_references(service: ServiceConfiguration) -> Iterator[ConfigError]:
    for name, token in service.tokens.items():
        if not Path(token.module).is_file():
            yield ConfigError(
                str(service.file),
                f"tokens.{name}.module",
                f"{token.module} is not a file",
                "Install the vendor's module, or correct the path.",
            )
        if isinstance(token.login, PinLogin):
            yield from _secret(service.file, f"tokens.{name}.login.pin_file", token.login.pin_file)
    yield from _secret(service.file, "redis.password_file", service.redis.password_file)


def _secret(file: Path, path: str, name: str | None) -> Iterator[ConfigError]:
    if name is None or is_for_another_process(name):
        return
    try:
        Secret.from_file(name)
    except ConfigError as error:
        yield ConfigError(str(file), path, str(error), error.remedy)
