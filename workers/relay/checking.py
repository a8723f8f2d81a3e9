"""Check of ``relay.toml``: the first mistake of each table, and the files that it names; nothing is asked of Redis."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from workers.config.settings import LoggingSettings
from workers.config.validation import broken_secret
from workers.config.values import ErrorList, tables_below
from workers.relay.settings import (
    RelayLimits,
    RelayMetricsSettings,
    RelaySettings,
    RelayTenantSettings,
    TlsSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

_TABLES: Final = {
    "tls": TlsSettings,
    "limits": RelayLimits,
    "metrics": RelayMetricsSettings,
    "logging": LoggingSettings,
}


def check_file(file: Path, errors: ErrorList) -> RelaySettings | None:
    """The settings; None where a table is wrong. ``errors`` has what is wrong in the file, and in the files that it names."""
    file = file.resolve()
    tables = errors.collect(lambda: read_toml(file))
    if tables is None:
        return None
    before = len(errors.all)
    for name, kind in _TABLES.items():
        errors.collect(partial(convert, file, name, tables.get(name, {}), kind))  # type: ignore[arg-type]
    tenants = tables_below(file, tables, "tenants", errors)
    errors.collect_each(tenants, partial(_tenant, file))
    settings = errors.collect(partial(_whole, file, tables, errors, before))
    if settings is None or len(errors.all) > before:
        return None
    errors.all += _broken_references(file, settings)
    return settings


def _tenant(file: Path, name: str, table: object) -> RelayTenantSettings:
    return convert(file, f"tenants.{name}", table, RelayTenantSettings)


def _whole(file: Path, tables: dict[str, Any], errors: ErrorList, before: int) -> RelaySettings | None:
    """The whole file; where a table is wrong, and so the whole is, the keys outside of tables alone."""
    if len(errors.all) == before:
        return RelaySettings.from_file(file)
    some = {name: value for name, value in tables.items() if name not in {*_TABLES, "tenants"}}
    placeholder = {"certificate_file": "x", "private_key_file": "x"}
    convert(file, "", {**some, "tls": placeholder, "tenants": {"x": {"redis": {}}}}, RelaySettings)
    return None


def _broken_references(file: Path, settings: RelaySettings) -> Iterator[ConfigError]:
    try:
        settings.tls.files(str(file)).context()
    except ConfigError as error:
        yield error
    for name, tenant in settings.tenants.items():
        yield from broken_secret(file, f"tenants.{name}.redis.password_file", tenant.redis.password_file)
