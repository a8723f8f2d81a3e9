"""Read the files, check them against each other, and resolve them into one frozen configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from queueing.errors import ConfigError
from queueing.settings import convert, read_toml
from workers.config.settings import (
    ExporterSettings,
    HsmSettings,
    LogSettings,
    MetricsSettings,
    OperatorSettings,
    PinLogin,
    RedisConfig,
    ServiceKeySettings,
    ServiceSettings,
    TokenSettings,
    WorkerSettings,
)
from workers.config.tenant_file import load_tenant
from workers.config.values import expect_name, expect_table, public_key, refuse_unknown, signer_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.client_identity import ClientPublicKey
    from queueing.verification import PublicKey
    from workers.config.tenants import Tenant

_SERVICE_TABLES: Final = {
    "service",
    "redis",
    "service_key",
    "tokens",
    "hsms",
    "operators",
    "worker",
    "log",
    "metrics",
    "exporter",
}

_LOGINS_BY_NAME: Final = ("none", "protected-path")
_REFUSED_ENVIRONMENT: Final = ("LD_PRELOAD", "LD_AUDIT", "PYTHON")
"""Variables, or their beginnings, that would change the lane's interpreter rather than its module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """The key that signs key directories, and its token."""

    token: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfiguration:
    """The service's own file, without its tenants: what a lane needs beside its own tenant."""

    file: Path
    audience: str
    epoch: int
    state_dir: Path
    tenants_dir: Path
    redis: RedisConfig
    service_key: ServiceKey
    tokens: dict[str, TokenSettings]
    operators: dict[str, ClientPublicKey]
    hsms: dict[str, HsmSettings]
    worker: WorkerSettings
    log: LogSettings
    metrics: MetricsSettings
    exporter: ExporterSettings

    def tenant_file(self, tenant: str) -> Path:
        """Where the tenant's file is; whether it exists is found when it is read."""
        return self.tenants_dir / f"{tenant}.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything the operator decided, checked as a whole."""

    service: ServiceConfiguration
    tenants: dict[str, Tenant]


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
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


def load_configuration(file: Path) -> Configuration:
    """Read the service's file and its tenants; the first mistake is a ``ConfigError``."""
    service = load_service(file)
    return with_tenants(service, {path: load_tenant(path, service.tokens) for path in tenant_files(service)})


def load_premises(file: Path) -> Premises:
    """Read from the service's file what making its first keys needs; a ``ConfigError`` otherwise."""
    file = file.resolve()
    tables = _service_tables(file)
    service = convert(file, "service", _table(file, tables, "service"), ServiceSettings)
    service_key = expect_table(file, "service_key", tables.get("service_key", {}))
    return Premises(
        file=file,
        tenants_dir=file.parent / service.tenants_dir,
        state_dir=file.parent / service.state_dir,
        tokens=_tokens(file, tables),
        service_token=service_key.get("token"),
    )


def load_service(file: Path) -> ServiceConfiguration:
    """Read the service's file alone; the first mistake is a ``ConfigError``."""
    file = file.resolve()
    return service_of(file, read_toml(file))


def service_of(file: Path, tables: dict[str, Any]) -> ServiceConfiguration:
    """The service in these tables, as if they stood in ``file``, an absolute path."""
    refuse_unknown(file, tables, _SERVICE_TABLES)
    service = convert(file, "service", _table(file, tables, "service"), ServiceSettings)
    tokens = _tokens(file, tables)
    worker = convert(file, "worker", tables.get("worker", {}), WorkerSettings)
    return ServiceConfiguration(
        file=file,
        audience=service.audience,
        epoch=service.epoch,
        state_dir=file.parent / service.state_dir,
        tenants_dir=file.parent / service.tenants_dir,
        redis=_redis(file, _table(file, tables, "redis")),
        service_key=_service_key(file, tables, tokens),
        tokens=tokens,
        operators=_operators(file, tables),
        hsms=_hsms(file, tables, tokens),
        worker=worker,
        log=_log(file, tables, worker),
        metrics=convert(file, "metrics", tables.get("metrics", {}), MetricsSettings),
        exporter=convert(file, "exporter", tables.get("exporter", {}), ExporterSettings),
    )


def tenant_files(service: ServiceConfiguration) -> list[Path]:
    """The tenant files, by name; ``ConfigError`` where their directory is missing."""
    folder = service.tenants_dir
    if not folder.is_dir():
        raise ConfigError(str(folder), "", "is not a directory", "Create it, or set service.tenants_dir.")
    return sorted(folder.glob("*.toml"))


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


def _service_tables(file: Path) -> dict[str, Any]:
    tables = read_toml(file)
    refuse_unknown(file, tables, _SERVICE_TABLES)
    return tables


def _table(file: Path, tables: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in tables:
        raise ConfigError(str(file), name, "the table is missing", f"Add [{name}].")
    return expect_table(file, name, tables[name])


def _redis(file: Path, table: dict[str, Any]) -> RedisConfig:
    redis = convert(file, "redis", table, RedisConfig)
    if redis.places() != 1:
        raise ConfigError(
            str(file),
            "redis",
            f"names {redis.places()} places",
            "Give exactly one of `host`, `unix_socket` and `sentinel`.",
        )
    return redis.relative_to(file.parent)


def _tokens(file: Path, tables: dict[str, Any]) -> dict[str, TokenSettings]:
    tokens: dict[str, TokenSettings] = {}
    chosen: dict[object, str] = {}
    for name, table in expect_table(file, "tokens", tables.get("tokens", {})).items():
        token = _token(file, expect_name(file, f"tokens.{name}", name), table)
        other = chosen.setdefault(_choice(token), name)
        if other != name:
            raise ConfigError(
                str(file),
                f"tokens.{name}",
                f"is the token that tokens.{other} names",
                "Name each token once: two names would let two tenants share one login.",
            )
        tokens[name] = token
    return tokens


def _choice(token: TokenSettings) -> object:
    """What a table chooses; two tables that choose one token by different properties are not seen."""
    return token.module, tuple(sorted(token.environment.items())), token.select


def _hsms(file: Path, tables: dict[str, Any], tokens: dict[str, TokenSettings]) -> dict[str, HsmSettings]:
    """Devices that tokens share; ``ConfigError`` where a token names one that is not there."""
    hsms = {
        expect_name(file, f"hsms.{name}", name): convert(file, f"hsms.{name}", table, HsmSettings)
        for name, table in expect_table(file, "hsms", tables.get("hsms", {})).items()
    }
    for name, token in tokens.items():
        if token.hsm is not None and token.hsm not in hsms:
            raise ConfigError(str(file), f"tokens.{name}.hsm", "no such HSM", f"Add [hsms.{token.hsm}].")
    return hsms


def _log(file: Path, tables: dict[str, Any], worker: WorkerSettings) -> LogSettings:
    """How long the log is kept: never shorter than the results that it can publish again."""
    log = convert(file, "log", tables.get("log", {}), LogSettings)
    if log.keep_days * 86400 < worker.result_retention_s:
        raise ConfigError(
            str(file),
            "log.keep_days",
            f"is less than worker.result_retention_s ({worker.result_retention_s:g} s)",
            "Keep the log at least as long as the results.",
        )
    return log


def _operators(file: Path, tables: dict[str, Any]) -> dict[str, ClientPublicKey]:
    """Who may sign stop orders."""
    operators = {}
    for name, table in expect_table(file, "operators", tables.get("operators", {})).items():
        path = f"operators.{expect_name(file, f'operators.{name}', name)}"
        settings = convert(file, path, table, OperatorSettings)
        operators[name] = signer_key(
            file,
            f"{path}.public_key",
            settings.public_key,
            "Paste the line that `sigmill operators create` printed.",
        )
    return operators


def _token(file: Path, name: str, table: object) -> TokenSettings:
    path = f"tokens.{name}"
    login = table.get("login") if isinstance(table, dict) else None
    if login is not None and not isinstance(login, dict) and login not in _LOGINS_BY_NAME:
        # Not by the struct: what somebody wrote there may be the PIN itself, and must not be shown.
        raise ConfigError(
            str(file),
            f"{path}.login",
            "is no kind of login",
            'Write { pin_file = … }, "protected-path" or "none"; a PIN stands in a file of its own.',
        )
    token = convert(file, path, table, TokenSettings)
    select = token.select
    if select.slot is None and select.label is None and select.serial is None:
        raise ConfigError(str(file), f"{path}.select", "selects nothing", "Give `label`, `serial` or `slot`.")
    if not Path(token.module).is_absolute():
        raise ConfigError(
            str(file), f"{path}.module", "is not an absolute path", "Write the .so's full path."
        )
    for variable in token.environment:
        if variable.startswith(_REFUSED_ENVIRONMENT):
            raise ConfigError(
                str(file),
                f"{path}.environment.{variable}",
                "is not for a module",
                "Set only what the vendor's module itself reads.",
            )
    resolved = token.login
    if isinstance(resolved, PinLogin):
        resolved = PinLogin(pin_file=str(file.parent / resolved.pin_file))
    socket = None if token.socket is None else str(file.parent / token.socket)
    return msgspec.structs.replace(token, login=resolved, socket=socket)


def _service_key(file: Path, tables: dict[str, Any], tokens: dict[str, TokenSettings]) -> ServiceKey:
    settings = convert(file, "service_key", _table(file, tables, "service_key"), ServiceKeySettings)
    if settings.token not in tokens:
        raise ConfigError(str(file), "service_key.token", "no such token", f"Add [tokens.{settings.token}].")
    return ServiceKey(
        token=settings.token, public_key=public_key(file, "service_key.public_key", settings.public_key)
    )


__all__ = [
    "Configuration",
    "Premises",
    "ServiceConfiguration",
    "ServiceKey",
    "claim_tokens",
    "load_configuration",
    "load_premises",
    "load_service",
    "load_tenant",
    "service_of",
    "tenant_files",
    "with_tenants",
]
