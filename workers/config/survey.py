"""Every mistake of the configuration at once, instead of the first one; and what the files point to.

Each file is read apart: its first mistake is reported, and the others are read all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from queueing.errors import ConfigError
from queueing.secret import Secret
from workers.config.loading import (
    Configuration,
    ServiceConfiguration,
    claim_tokens,
    load_service,
    load_tenant,
    tenant_files,
)
from workers.config.settings import PinLogin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.config.tenants import Tenant

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found; ``configuration`` has the tenants that could be read, and is None without a service."""

    configuration: Configuration | None
    mistakes: tuple[ConfigError, ...]


def survey(file: Path) -> Survey:
    """Read all files, and look whether modules and secret files are there. Shows no secret; logs in nowhere."""
    mistakes: list[ConfigError] = []
    service = _try(partial(load_service, file), mistakes)
    if service is None:
        return Survey(configuration=None, mistakes=tuple(mistakes))
    tenants: dict[str, Tenant] = {}
    owner_of = {service.service_key.token: "the service"}
    for path in _try(partial(tenant_files, service), mistakes) or []:
        tenant = _try(partial(load_tenant, path, service.tokens), mistakes)
        if tenant is not None:
            tenants[tenant.name] = tenant
            _try(partial(claim_tokens, path, tenant, owner_of), mistakes)
    mistakes += _what_the_service_points_to(service)
    return Survey(configuration=Configuration(service=service, tenants=tenants), mistakes=tuple(mistakes))


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
    if name is None:
        return
    try:
        Secret.from_file(name)
    except ConfigError as error:
        yield ConfigError(str(file), path, str(error), error.remedy)


def _try(read: Callable[[], T], mistakes: list[ConfigError]) -> T | None:
    try:
        return read()
    except ConfigError as error:
        mistakes.append(error)
        return None
