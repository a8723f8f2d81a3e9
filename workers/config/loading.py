"""The whole configuration: the service's file and its tenants', checked against each other and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from queueing.files.folders import entries
from workers.config.mistakes import ErrorList
from workers.config.service_file import SERVICE_TABLES, load_service, read_tokens, service_settings
from workers.config.tenant_file import load_tenant
from workers.config.values import expect_table, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import TokenSettings
    from workers.config.tenants import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything the operator decided, checked as a whole."""

    service: ServiceConfiguration
    tenants: dict[str, Tenant]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceScope:
    """What must be known before there can be any keys: the tokens, and where the tenant files stand.

    ``service_token`` is None as long as the service has no key.
    """

    file: Path
    tenants_dir: Path
    state_dir: Path
    tokens: dict[str, TokenSettings]
    service_token: str | None

    def tenant_file(self, tenant: str) -> Path:
        """Where the tenant's file stands, or would."""
        return self.tenants_dir / f"{tenant}.toml"

    def tenant_files(self) -> list[Path]:
        """The tenant files, by name; none before there is a directory. ``ConfigError`` where it cannot be listed."""
        return _files_of(self.tenants_dir, missing_ok=True)


def load_configuration(file: Path) -> Configuration:
    """Read the service's file and its tenants; the first mistake is a ``ConfigError``."""
    service = load_service(file)
    return with_tenants(service, {path: load_tenant(path, service.tokens) for path in tenant_files(service)})


def load_premises(file: Path) -> ServiceScope:
    """Read from the service's file what making its first keys needs; a ``ConfigError`` otherwise."""
    file = file.resolve()
    tables = read_toml(file)
    refuse_unknown(file, tables, SERVICE_TABLES)
    service = service_settings(file, tables)
    service_key = expect_table(file, "service_key", tables.get("service_key", {}))
    mistakes = ErrorList()
    tokens = read_tokens(file, tables, mistakes)
    if mistakes.found:
        raise mistakes.first()
    return ServiceScope(
        file=file,
        tenants_dir=file.parent / service.tenants_dir,
        state_dir=file.parent / service.state_dir,
        tokens=tokens,
        service_token=service_key.get("token"),
    )


def tenant_files(service: ServiceConfiguration) -> list[Path]:
    """The tenant files, by name; ``ConfigError`` where their directory is missing or cannot be listed."""
    return _files_of(service.tenants_dir)


def _files_of(folder: Path, *, missing_ok: bool = False) -> list[Path]:
    try:
        return entries(folder, suffix=".toml", missing_ok=missing_ok)
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            str(folder), "", "is not a directory", "Create it, or set service.tenants_dir."
        ) from None
    except OSError as error:
        raise ConfigError(
            str(folder),
            "",
            f"cannot be listed ({error.strerror})",
            "Its owner and mode must let this user read it, and its disk must be sound.",
        ) from error


def with_tenants(service: ServiceConfiguration, tenants: Mapping[Path, Tenant]) -> Configuration:
    """The whole, in which no token serves two owners. A tenant's file bears its name, so none stands twice."""
    owner_of = {service.service_key.token: "the service"}
    for file, tenant in tenants.items():
        claim_tokens(file, tenant, owner_of)
    return Configuration(service=service, tenants={tenant.name: tenant for tenant in tenants.values()})


def claim_tokens(file: Path, tenant: Tenant, owner_of: dict[str, str]) -> None:
    """Enter the tenant as owner of its tokens; ``ConfigError`` if one is somebody else's."""
    for token in sorted(tenant.tokens):
        if owner_of.setdefault(token, tenant.name) != tenant.name:
            raise ConfigError(
                str(file),
                "keys",
                f"token `{token}` belongs to {owner_of[token]}",
                "Give each tenant a token and PIN of its own; a session never serves two.",
            )
