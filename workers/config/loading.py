"""Loading of the whole configuration: the service's file and the tenants' files, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.config.toml import read_toml
from queueing.errors import ConfigError
from queueing.files.folders import entries
from workers.config.service_file import SERVICE, SERVICE_TABLES, load_service, service_settings
from workers.config.tenant_file import load_tenant
from workers.config.token_tables import read_tokens
from workers.config.values import ErrorList, expect_table, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import TokenSettings
    from workers.config.tenants import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Configuration of the service and its tenants, checked as a whole."""

    service: ServiceConfiguration
    tenants: dict[str, Tenant]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceScope:
    """Tokens and paths of a service: the part of its file that the creation of its first keys needs.

    ``service_token`` is None until the service has a key.
    """

    file: Path
    audience: str
    tenants_dir: Path
    state_dir: Path
    tokens: dict[str, TokenSettings]
    service_token: str | None

    def tenant_file(self, tenant: str) -> Path:
        """Path of the tenant's file, which may not exist."""
        return self.tenants_dir / f"{tenant}.toml"

    def tenant_files(self) -> list[Path]:
        """Paths of the tenant files, sorted; empty where the directory is missing. Raises ``ConfigError``."""
        return _files_of(self.tenants_dir, missing_ok=True)


def load_configuration(file: Path) -> Configuration:
    """Read the service's file and its tenants' files. Raises ``ConfigError`` for the first error."""
    service = load_service(file)
    return with_tenants(service, {path: load_tenant(path, service.tokens) for path in tenant_files(service)})


def load_scope(file: Path) -> ServiceScope:
    """Read the scope of a service from its file. Raises ``ConfigError``."""
    file = file.resolve()
    tables = read_toml(file)
    refuse_unknown(file, tables, SERVICE_TABLES)
    service = service_settings(file, tables)
    service_key = expect_table(file, "service_key", tables.get("service_key", {}))
    errors = ErrorList()
    tokens = read_tokens(file, tables, errors)
    if errors.all:
        raise errors.first()
    return ServiceScope(
        file=file,
        audience=service.audience,
        tenants_dir=file.parent / service.tenants_dir,
        state_dir=file.parent / service.state_dir,
        tokens=tokens,
        service_token=service_key.get("token"),
    )


def tenant_files(service: ServiceConfiguration) -> list[Path]:
    """Paths of the tenant files, sorted. Raises ``ConfigError`` where their directory is missing or unreadable."""
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
            "Check owner, mode and disk of the directory.",
        ) from error


def with_tenants(service: ServiceConfiguration, tenants: Mapping[Path, Tenant]) -> Configuration:
    """The configuration of service and tenants. Raises ``ConfigError`` where two owners share a token or a key.

    A tenant's file is named after the tenant, so no tenant occurs twice.
    """
    ownership = Ownership.of_service(service)
    for file, tenant in tenants.items():
        ownership.claim(file, tenant)
    return Configuration(service=service, tenants={tenant.name: tenant for tenant in tenants.values()})


class Ownership:
    """Owners of tokens and public keys over all files: a token has one owner, and a public key one place.

    A key under two names would let the clients of one tenant sign with the key of another, or continue to sign when it is
    revoked under one name.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self._places: dict[bytes, tuple[str, str]] = {}

    @classmethod
    def of_service(cls, service: ServiceConfiguration) -> Ownership:
        """The service's own token and key."""
        owned = cls()
        owned.tokens[service.service_key.token] = SERVICE
        owned._places[service.service_key.public_key.spki] = str(service.file), "service_key.public_key"
        return owned

    def claim(self, file: Path, tenant: Tenant) -> None:
        """Add what the tenant has. Raises ``ConfigError`` for a token or key of another owner, and names both files."""
        for token in sorted(tenant.tokens):
            if self.tokens.setdefault(token, tenant.name) != tenant.name:
                raise ConfigError(
                    str(file),
                    "keys",
                    f"token `{token}` belongs to {self.tokens[token]}",
                    "Give each tenant its own token and PIN; tenants never share a session.",
                )
        for key in tenant.keys.values():
            for i, version in enumerate(key.versions):
                self._claim_key(
                    str(file), f"keys.{key.name}.versions[{i}].public_key", version.public_key.spki
                )

    def _claim_key(self, file: str, path: str, spki: bytes) -> None:
        first = self._places.setdefault(spki, (file, path))
        if first != (file, path):
            raise ConfigError(
                file,
                path,
                f"is the public key of {first[1].removesuffix('.public_key')} in {first[0]}",
                "Remove it here or there: a public key belongs to one tenant and one key.",
            )
