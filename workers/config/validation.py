"""Every mistake of the configuration at once, instead of the first one; and what the files point to.

Each table of each file (a token, a client, a key) is read apart: its first mistake is reported, and the others are
read all the same. Without a service's file there are no tokens to judge the tenants by, so that one comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.config.secrets import Secret, is_for_another_process
from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from workers.config.loading import Configuration, claim_tokens, tenant_files
from workers.config.mistakes import ErrorList
from workers.config.service_file import read_service
from workers.config.settings import PinLogin
from workers.config.tenant_file import read_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReport:
    """What was found; ``configuration`` has the tenants that could be read, and is None without a service."""

    configuration: Configuration | None
    mistakes: tuple[ConfigError, ...]


def survey(file: Path) -> ConfigReport:
    """Read all files, and look whether modules and secret files are there. Shows no secret; logs in nowhere."""
    mistakes = ErrorList()
    service = mistakes.reading(lambda: read_service(file.resolve(), read_toml(file), mistakes))
    if service is None:
        return ConfigReport(configuration=None, mistakes=tuple(mistakes.found))
    tenants: dict[str, Tenant] = {}
    owner_of = {service.service_key.token: "the service"}
    for path in mistakes.reading(lambda: tenant_files(service)) or []:
        tenant = mistakes.reading(partial(_tenant, path, service, mistakes))
        if tenant is not None:
            tenants[tenant.name] = tenant
            mistakes.reading(partial(claim_tokens, path, tenant, owner_of))
    mistakes.found += _what_the_service_points_to(service)
    return ConfigReport(
        configuration=Configuration(service=service, tenants=tenants), mistakes=tuple(mistakes.found)
    )


def _tenant(file: Path, service: ServiceConfiguration, mistakes: ErrorList) -> Tenant | None:
    return read_tenant(file, read_toml(file), service.tokens, mistakes)


def _what_the_service_points_to(service: ServiceConfiguration) -> Iterator[ConfigError]:
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
