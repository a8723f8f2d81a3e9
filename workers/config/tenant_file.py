"""A tenant's file: clients, keys and limits, checked against the tokens of the service's file."""

from __future__ import annotations

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS, Algorithm, KeyKind
from workers.config.issuers.identities import read_identities
from workers.config.issuers.issuers import (
    read_issuer,
    refuse_shared_keys,
    refuse_unknown_issuers,
    refuse_unknown_keys,
)
from workers.config.key_policy import DAYS, EVERY_CLIENT, Budget, KeyPolicy, Window
from workers.config.key_versions import read_version
from workers.config.settings import (
    BudgetSettings,
    ClientSettings,
    KeySettings,
    LimitsSettings,
    TenantSettings,
    WindowSettings,
)
from workers.config.tenant_limits import limits_of
from workers.config.tenants import KeyVersion, Tenant, TenantClient, TenantKey
from workers.config.values import ErrorList, expect_name, expect_table, signer_key, tables_below, unix_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import time, tzinfo
    from pathlib import Path

_SMALL_RSA: Final = frozenset({KeyKind.RSA_2048})
"""Too small for public code signing (CSBR 6.1.5)."""

_DAY_S: Final = 86_400
_PERIODS_S: Final = {"hour": 3600, "day": _DAY_S}

_HEAD_KEYS: Final = {field.encode_name for field in msgspec.structs.fields(TenantSettings)}


def load_tenant(file: Path, tokens: Collection[str]) -> Tenant:
    """Read one tenant's file; ``tokens`` are the names of the service's tokens. Raises ``ConfigError``."""
    return tenant_of(file, read_toml(file), tokens)


def tenant_of(file: Path, tables: dict[str, Any], tokens: Collection[str]) -> Tenant:
    """Tenant from the tables of ``file``. Raises ``ConfigError`` for the first error."""
    errors = ErrorList()
    tenant = read_tenant(file, tables, tokens, errors)
    if tenant is None:
        raise errors.first()
    return tenant


def read_tenant(
    file: Path, tables: dict[str, Any], tokens: Collection[str], errors: ErrorList
) -> Tenant | None:
    """Tenant of a file's tables; None where something is wrong: ``errors`` has the first error of each client, key and table."""
    before = len(errors.all)
    errors.add_unknown(file, tables, _HEAD_KEYS | {"clients", "issuers", "keys", "limits"})
    given = errors.collect(lambda: expect_table(file, "clients", tables.get("clients", {}))) or {}
    given_issuers = tables_below(file, tables, "issuers", errors)
    given_keys = errors.collect(lambda: expect_table(file, "keys", tables.get("keys", {}))) or {}
    limits = errors.collect(lambda: convert(file, "limits", tables.get("limits", {}), LimitsSettings))
    head = errors.collect(lambda: _head(file, tables))
    keys = errors.collect_each(given_keys, partial(_key, file, tokens=tokens))
    clients = errors.collect_each(given, partial(_client, file))
    issuers = errors.collect_each(given_issuers, partial(read_issuer, file))
    errors.collect(lambda: _refuse_duplicate_keys(file, keys))
    errors.collect(lambda: refuse_unknown_keys(file, issuers.values(), given_keys))
    errors.collect(
        lambda: refuse_shared_keys(file, issuers, {c.name: c.public_key for c in clients.values()})
    )
    errors.collect(
        lambda: refuse_unknown_issuers(file, {k.name: k.policy.issuers for k in keys.values()}, given_issuers)
    )
    errors.collect(lambda: _refuse_unknown_clients(file, keys, given))
    if len(errors.all) > before or head is None or limits is None:
        return None
    return Tenant(
        name=head.tenant,
        epoch=head.epoch,
        suspended=head.state == "suspended",
        max_envelope_age_ms=int(head.max_envelope_age_s * 1000),
        clients=clients,
        issuers=issuers,
        keys=keys,
        tenant_class=head.tenant_class,
        lifted_orders=frozenset(map(bytes.fromhex, head.lifted_orders)),
        limits=limits_of(limits, (v.public_key.kind for key in keys.values() for v in key.versions)),
    )


def _head(file: Path, tables: dict[str, Any]) -> TenantSettings:
    """Keys before the first table."""
    given = {name: value for name, value in tables.items() if name in _HEAD_KEYS}
    head = convert(file, "", given, TenantSettings)
    if file.stem != head.tenant:
        raise ConfigError(
            str(file),
            "tenant",
            f"is `{head.tenant}`, but the file is named otherwise",
            "Rename the tenant or the file.",
        )
    return head


def _refuse_duplicate_keys(file: Path, keys: Mapping[str, TenantKey]) -> None:
    """Refuse a public key under two names: revoked under one, it would still sign under the other."""
    seen: dict[bytes, str] = {}
    for key in keys.values():
        for i, version in enumerate(key.versions):
            path = f"keys.{key.name}.versions[{i}]"
            first = seen.setdefault(version.public_key.spki, path)
            if first != path:
                raise ConfigError(
                    str(file),
                    f"{path}.public_key",
                    f"is the same as that of {first}",
                    "List each public key once; a key in several tokens is one version with several `tokens`.",
                )


def _refuse_unknown_clients(file: Path, keys: Mapping[str, TenantKey], clients: Collection[str]) -> None:
    """Refuse unknown clients: a client that is given such a name later would be allowed to use the key."""
    for key in keys.values():
        for name in sorted((key.policy.clients or frozenset()).difference(clients)):
            raise ConfigError(
                str(file),
                f"keys.{key.name}.clients",
                f"no client `{name}`",
                f"Add [clients.{name}], or correct the name.",
            )


def _client(file: Path, name: str, table: object) -> TenantClient:
    path = f"clients.{name}"
    expect_name(file, path, name)
    settings = convert(file, path, table, ClientSettings)
    client_key = signer_key(
        file,
        f"{path}.public_key",
        settings.public_key,
        "Paste the line that `sigmill clients create` printed.",
    )
    return TenantClient(
        name=name,
        public_key=client_key,
        expires_at_ms=unix_ms(file, f"{path}.expires", settings.expires),
        revoked=settings.state == "revoked",
    )


def _key(file: Path, name: str, table: object, tokens: Collection[str]) -> TenantKey:
    path = f"keys.{name}"
    expect_name(file, path, name)
    if "clients" not in expect_table(file, path, table):
        raise ConfigError(
            str(file),
            f"{path}.clients",
            "is missing: it says which clients may use the key",
            'Write clients = ["*"] for every client of the tenant, or name them.',
        )
    settings = convert(file, path, table, KeySettings)
    versions = tuple(
        read_version(file, f"{path}.versions[{i}]", name, version, tokens)
        for i, version in enumerate(settings.versions)
    )
    numbers = [v.version for v in versions]
    if numbers != sorted(set(numbers)):
        raise ConfigError(
            str(file), f"{path}.versions", "are not in ascending order", "Number them 1, 2, 3 …"
        )
    default = settings.default_algorithm or _default_algorithm(file, path, versions, settings.algorithms)
    if default not in settings.algorithms:
        raise ConfigError(
            str(file),
            f"{path}.default_algorithm",
            "is not among `algorithms`",
            "Add it to `algorithms`, or choose another.",
        )
    for version in versions:
        _check_fit(file, path, version, settings)
    return TenantKey(
        name=name,
        algorithms=frozenset(settings.algorithms),
        default_algorithm=default,
        profile=settings.profile,
        versions=versions,
        canary=settings.canary,
        identities=read_identities(file, name, settings.identities, settings.issuers),
        policy=KeyPolicy(
            clients=None if EVERY_CLIENT in settings.clients else frozenset(settings.clients),
            issuers=frozenset(settings.issuers),
            windows=tuple(_window(file, f"{path}.windows[{i}]", w) for i, w in enumerate(settings.windows)),
            budget=_budget(settings.budget),
        ),
    )


def _window(file: Path, path: str, settings: WindowSettings) -> Window:
    start_s, end_s = _second(settings.start), _DAY_S if settings.end is None else _second(settings.end)
    if start_s == end_s:
        raise ConfigError(
            str(file),
            f"{path}.until",
            "equals `from`: the window is empty",
            "For the whole day leave both out.",
        )
    days = frozenset(map(DAYS.index, settings.days))
    return Window(days=days, start_s=start_s, end_s=end_s, zone=_zone(file, path, settings.zone))


def _zone(file: Path, path: str, name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            str(file),
            f"{path}.zone",
            f"names no time zone that this host has: {name}",
            "Write a name such as Europe/Berlin; on Debian `apt-get install tzdata` brings them.",
        ) from error


def _second(moment: time) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _budget(settings: BudgetSettings | None) -> Budget | None:
    if settings is None:
        return None
    return Budget(digests=settings.digests, period_s=_PERIODS_S[settings.per])


def _default_algorithm(
    file: Path, path: str, versions: tuple[KeyVersion, ...], algorithms: tuple[Algorithm, ...]
) -> Algorithm:
    usual = DEFAULT_FOR_KEY[versions[-1].public_key.kind]
    if usual in algorithms:
        return usual
    if len(algorithms) == 1:
        return algorithms[0]
    raise ConfigError(
        str(file), f"{path}.default_algorithm", "is missing", f"Choose one of {', '.join(algorithms)}."
    )


def _check_fit(file: Path, path: str, version: KeyVersion, settings: KeySettings) -> None:
    kind = version.public_key.kind
    for algorithm in settings.algorithms:
        if kind not in FACTS[algorithm].key_kinds:
            raise ConfigError(
                str(file),
                f"{path}.algorithms",
                f"{algorithm} does not fit version {version.version}, which is {kind}",
                "List only algorithms that every version of the key supports.",
            )
    if settings.profile == "code-signing" and kind in _SMALL_RSA:
        raise ConfigError(
            str(file),
            f"{path}.profile",
            f"version {version.version} is {kind}, too small for code signing",
            'Use RSA 3072 or larger, or set profile = "internal".',
        )
