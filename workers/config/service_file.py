"""The service's file: tokens, Redis, operators and settings of the worker, read without the tenants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from queueing.config.redis import RedisConfig
from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from workers.config.settings import (
    ExporterSettings,
    HsmSettings,
    LoggingSettings,
    LogSettings,
    MetricsSettings,
    OperatorSettings,
    RecordSettings,
    ServiceKeySettings,
    ServiceSettings,
    TokenSettings,
    WorkerSettings,
)
from workers.config.token_tables import read_tokens
from workers.config.values import ErrorList, expect_name, expect_table, public_key, signer_key, tables_below

if TYPE_CHECKING:
    from collections.abc import Collection

    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.public_keys import PublicKey

SERVICE: Final = "the service"
"""Owner of the service's own token; no tenant has a name with a blank."""

SERVICE_KEY_NAME: Final = "service"
SERVICE_KEY_VERSION: Final = 1
"""The service key among the key versions of records and metrics."""

SERVICE_TABLES: Final = {
    "service",
    "redis",
    "service_key",
    "tokens",
    "hsms",
    "operators",
    "worker",
    "log",
    "record",
    "logging",
    "metrics",
    "exporter",
}

_KEY_NAME: Final = re.compile(r"[!-*,-~]{1,128}\Z")
"""C2SP signed-note: a key's name has no blanks and no plus; control characters would break its line."""

_MADE_BY: Final = {"service_key": "sigmill keys create --service"}
"""Commands that create a table, for tables that are not written by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """Key that signs key directories, and its token."""

    token: str
    public_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfiguration:
    """Configuration of the service without its tenants; a lane reads this and its own tenant's file."""

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
    logging: LoggingSettings
    metrics: MetricsSettings
    exporter: ExporterSettings
    record: RecordSettings

    @property
    def log_name(self) -> str:
        """Name before those of the tenants in the origins of the record's logs; of printable characters, without blanks."""
        return self.record.name or f"sigmill/{self.audience}"

    def tenant_file(self, tenant: str) -> Path:
        """Path of the tenant's file, which may not exist."""
        return self.tenants_dir / f"{tenant}.toml"


def load_service(file: Path) -> ServiceConfiguration:
    """Read the service's file alone. Raises ``ConfigError`` for the first error."""
    file = file.resolve()
    return service_of(file, read_toml(file))


def service_of(file: Path, tables: dict[str, Any]) -> ServiceConfiguration:
    """Configuration of the service from the tables of ``file``, an absolute path. Raises ``ConfigError``."""
    errors = ErrorList()
    service = read_service(file, tables, errors)
    if service is None:
        raise errors.first()
    return service


def read_service(file: Path, tables: dict[str, Any], errors: ErrorList) -> ServiceConfiguration | None:
    """Configuration of the service; None where a table is wrong, and then ``errors`` has the first error of each table."""
    before = len(errors.all)
    errors.add_unknown(file, tables, SERVICE_TABLES)
    service = errors.collect(lambda: service_settings(file, tables))
    tokens = read_tokens(file, tables, errors)
    redis = errors.collect(lambda: _redis(file, required_table(file, tables, "redis")))
    names = _names(tables, "tokens")
    service_key = errors.collect(lambda: _service_key(file, tables, names))
    operators = errors.collect_each(tables_below(file, tables, "operators", errors), partial(_operator, file))
    hsms = errors.collect_each(tables_below(file, tables, "hsms", errors), partial(_hsm, file))
    for name, token in tokens.items():
        errors.collect(partial(_check_hsm, file, name, token, _names(tables, "hsms")))
    worker = errors.collect(lambda: convert(file, "worker", tables.get("worker", {}), WorkerSettings))
    log = errors.collect(lambda: _log(file, tables, worker))
    record = errors.collect(lambda: _record(file, tables, service, worker))
    logging = errors.collect(lambda: convert(file, "logging", tables.get("logging", {}), LoggingSettings))
    metrics = errors.collect(lambda: convert(file, "metrics", tables.get("metrics", {}), MetricsSettings))
    exporter = errors.collect(lambda: convert(file, "exporter", tables.get("exporter", {}), ExporterSettings))
    if len(errors.all) > before or not (
        service and redis and service_key and worker and log and record and logging and metrics and exporter
    ):
        return None
    return ServiceConfiguration(
        file=file,
        audience=service.audience,
        epoch=service.epoch,
        state_dir=file.parent / service.state_dir,
        tenants_dir=file.parent / service.tenants_dir,
        redis=redis,
        service_key=service_key,
        tokens=tokens,
        operators=operators,
        hsms=hsms,
        worker=worker,
        log=log,
        logging=logging,
        metrics=metrics,
        exporter=exporter,
        record=record,
    )


def service_settings(file: Path, tables: dict[str, Any]) -> ServiceSettings:
    """Table ``[service]``. Raises ``ConfigError``."""
    return convert(file, "service", required_table(file, tables, "service"), ServiceSettings)


def required_table(file: Path, tables: dict[str, Any], name: str) -> dict[str, Any]:
    """A required table. Raises ``ConfigError`` where it is missing."""
    if name not in tables:
        made_by = _MADE_BY.get(name)
        remedy = f"Add [{name}]." if made_by is None else f"Add [{name}]; `{made_by}` creates and prints it."
        raise ConfigError(str(file), name, "the table is missing", remedy)
    return expect_table(file, name, tables[name])


def _names(tables: dict[str, Any], name: str) -> Collection[str]:
    """Names of the tables below ``[name]``, valid or not."""
    below = tables.get(name)
    return below.keys() if isinstance(below, dict) else ()


def _redis(file: Path, table: dict[str, Any]) -> RedisConfig:
    redis = convert(file, "redis", table, RedisConfig)
    if redis.places() != 1:
        raise ConfigError(
            str(file),
            "redis",
            f"names {redis.places()} places",
            "Give exactly one of `host`, `unix_socket`, `sentinel` and `cluster`.",
        )
    return redis.relative_to(file.parent)


def _hsm(file: Path, name: str, table: object) -> HsmSettings:
    """Device shared by several tokens."""
    path = f"hsms.{expect_name(file, f'hsms.{name}', name)}"
    return convert(file, path, table, HsmSettings)


def _check_hsm(file: Path, name: str, token: TokenSettings, hsms: Collection[str]) -> None:
    if token.hsm is not None and token.hsm not in hsms:
        raise ConfigError(str(file), f"tokens.{name}.hsm", "no such HSM", f"Add [hsms.{token.hsm}].")


def _log(file: Path, tables: dict[str, Any], worker: WorkerSettings | None) -> LogSettings:
    """Settings of the write-ahead log: it is kept at least as long as the results that it can publish again."""
    log = convert(file, "log", tables.get("log", {}), LogSettings)
    if worker is not None and log.keep_days * 86400 < worker.result_retention_s:
        raise ConfigError(
            str(file),
            "log.keep_days",
            f"is less than worker.result_retention_s ({worker.result_retention_s:g} s)",
            "Keep the log at least as long as the results.",
        )
    return log


def _record(
    file: Path, tables: dict[str, Any], service: ServiceSettings | None, worker: WorkerSettings | None
) -> RecordSettings:
    """Settings of the record. Its logs are named after the audience, where that can be the name of a key.

    Segments that it has are kept longer than the results that they can publish again.
    """
    record = convert(file, "record", tables.get("record", {}), RecordSettings)
    if record.enabled and worker is not None and record.wal_days * 86400 < worker.result_retention_s + 86400:
        raise ConfigError(
            str(file),
            "record.wal_days",
            f"is less than a day more than worker.result_retention_s ({worker.result_retention_s:g} s)",
            "Keep the log a day longer than the results.",
        )
    if (
        record.enabled
        and record.name is None
        and service is not None
        and not _KEY_NAME.match(service.audience)
    ):
        raise ConfigError(
            str(file),
            "record.name",
            "is missing, and the audience has characters that no name of a log may have",
            'Add a name of letters, digits, "/", "." and "-", for example name = "sigmill/prod".',
        )
    return record


def _operator(file: Path, name: str, table: object) -> ClientPublicKey:
    """Public key of an operator, who may sign stop orders."""
    path = f"operators.{expect_name(file, f'operators.{name}', name)}"
    settings = convert(file, path, table, OperatorSettings)
    return signer_key(
        file,
        f"{path}.public_key",
        settings.public_key,
        "Paste the line that `sigmill operators create` printed.",
    )


def _service_key(file: Path, tables: dict[str, Any], tokens: Collection[str]) -> ServiceKey:
    settings = convert(file, "service_key", required_table(file, tables, "service_key"), ServiceKeySettings)
    if settings.token not in tokens:
        raise ConfigError(str(file), "service_key.token", "no such token", f"Add [tokens.{settings.token}].")
    return ServiceKey(
        token=settings.token, public_key=public_key(file, "service_key.public_key", settings.public_key)
    )
