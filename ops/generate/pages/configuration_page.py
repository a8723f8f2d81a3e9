"""``docs/reference/configuration.md``: every key of the configuration files, from the structs that read them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from ops.generate.pages.markdown import prose, table
from queueing.client.config import ClientConfig
from queueing.config.redis import RedisConfig
from workers.config import settings
from workers.config.issuers.tables import IdentitySettings, IssuerSettings
from workers.issuer import settings as issuer_settings
from workers.relay import settings as relay_settings

_HEAD: Final = """\
# Configuration: every key

<!-- Written by `make generate` from workers/config/settings.py, workers/relay/settings.py and queueing/client/config.py; do not edit. -->

[configure.md](../configure.md) explains the keys with examples. Unknown keys are errors. Paths are relative to the file
that contains them. `sigmill check-config` prints every error and its remedy.
"""

FILES: Final[dict[str, dict[str, type]]] = {
    "sigmill.toml": {
        "[service]": settings.ServiceSettings,
        "[redis]": RedisConfig,
        "[service_key]": settings.ServiceKeySettings,
        "[tokens.NAME]": settings.TokenSettings,
        "[hsms.NAME]": settings.HsmSettings,
        "[operators.NAME]": settings.OperatorSettings,
        "[worker]": settings.WorkerSettings,
        "[log]": settings.LogSettings,
        "[record]": settings.RecordSettings,
        "[logging]": settings.LoggingSettings,
        "[metrics]": settings.MetricsSettings,
        "[exporter]": settings.ExporterSettings,
    },
    "tenants/NAME.toml": {
        "(top)": settings.TenantSettings,
        "[limits]": settings.LimitsSettings,
        "[clients.NAME]": settings.ClientSettings,
        "[issuers.NAME]": IssuerSettings,
        "[keys.NAME]": settings.KeySettings,
        "[[keys.NAME.identities]]": IdentitySettings,
        "[[keys.NAME.versions]]": settings.KeyVersionSettings,
    },
    "client.toml": {"(top)": ClientConfig},
    "issuer.toml": {
        "[issuer]": issuer_settings.IssuerSettings,
        "[http]": issuer_settings.HttpSettings,
        "[tokens.NAME]": settings.TokenSettings,
        "[providers.NAME]": issuer_settings.ProviderSettings,
        "[certificates.NAME]": issuer_settings.CertificatesSettings,
        "[logging]": settings.LoggingSettings,
        "[metrics]": settings.MetricsSettings,
    },
    "relay.toml": {
        "(top)": relay_settings.RelaySettings,
        "[tls]": relay_settings.TlsSettings,
        "[limits]": relay_settings.RelayLimits,
        "[tenants.NAME]": relay_settings.RelayTenantSettings,
        "[metrics]": relay_settings.RelayMetricsSettings,
    },
}
"""Tables of each file. Nested structs are described within their table."""

_TABLES_OF_THEIR_OWN: Final = {
    settings.KeyVersionSettings,
    settings.LoggingSettings,
    IdentitySettings,
    RedisConfig,
    relay_settings.TlsSettings,
    relay_settings.RelayLimits,
    relay_settings.RelayMetricsSettings,
}

_PLAIN: Final[dict[type, str]] = {
    types.StrType: "text",
    types.BoolType: "true or false",
    types.DateTimeType: "date and time, with its zone",
    types.TimeType: "time of day",
}


def page() -> str:
    """Text of the page in Markdown."""
    parts = [_HEAD]
    for file, tables in FILES.items():
        parts.append(f"\n## {file}\n")
        for title, struct in tables.items():
            parts.append(f"\n### {title}\n\n{prose(struct)}\n\n")
            parts.append(table(("Key", "Value", "Default"), _rows(struct, "")))
    return "".join(parts)


def _rows(struct: type, prefix: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    for field in info.fields:
        name = f"{prefix}{field.encode_name}"
        inner = _struct_in(field.type)
        rows.append((f"`{name}`", _value(field.type), _default(field)))
        if inner is not None and inner.cls not in _TABLES_OF_THEIR_OWN:
            rows += _rows(inner.cls, f"{name}.")
    return rows


def _struct_in(kind: Any) -> types.StructType | None:
    """Struct type of a value or of the items of a list."""
    if isinstance(kind, types.StructType):
        return kind
    if isinstance(kind, types.UnionType):
        return next((found for part in kind.types if (found := _struct_in(part))), None)
    if isinstance(kind, types.VarTupleType):
        return _struct_in(kind.item_type)
    return _struct_in(kind.type) if isinstance(kind, types.Metadata) else None


def _value(kind: Any) -> str:
    """Description of the values that a type allows."""
    match kind:
        case types.Metadata():
            return _value(kind.type)
        case types.UnionType():
            return " or ".join(_value(part) for part in kind.types if not isinstance(part, types.NoneType))
        case types.LiteralType():
            return ", ".join(f"`{json.dumps(value)}`" for value in kind.values)
        case types.EnumType():
            return ", ".join(f"`{json.dumps(member.value)}`" for member in kind.cls)
        case types.IntType() | types.FloatType():
            return ("whole number" if isinstance(kind, types.IntType) else "number") + _bounds(kind)
        case types.VarTupleType():
            return f"list of: {_value(kind.item_type)}"
        case types.DictType():
            return f"table of: {_value(kind.value_type)}"
        case types.StructType():
            return "table"
        case types.StrType(pattern=str() as pattern):
            return f"text like `{pattern}`"
        case _:
            return _PLAIN[type(kind)]


def _bounds(kind: types.IntType | types.FloatType) -> str:
    bounds = [
        f"{words} {bound:g}" if bound < 1e9 else f"{words} {bound:,.0f}"
        for words, bound in (("above", kind.gt), ("from", kind.ge), ("below", kind.lt), ("to", kind.le))
        if bound is not None
    ]
    return f", {' '.join(bounds)}" if bounds else ""


def _default(field: types.Field) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None or isinstance(value, msgspec.Struct):
        return ""
    if isinstance(value, dt.time):
        return f"`{value.isoformat()}`"
    return f"`{json.dumps(value)}`"
