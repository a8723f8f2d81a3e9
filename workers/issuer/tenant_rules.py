"""Rules of the tenants' files as the issuer reads them: keys that name this issuer, their identities, and its caps.

Only what concerns the issuer is read: it needs no token of the service, and no certificate. A changed file is in force at the
next request.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.grants.grant import MAX_DIGESTS
from workers.config.values import base64_bytes, expect_name, expect_table, unix_ms
from workers.issuer.identity.claims import Expected, Pattern
from workers.issuer.identity.rules import IdentityRule, KeyRules, TenantRules

if TYPE_CHECKING:
    from pathlib import Path

    from workers.issuer.issuer_file import IssuerConfiguration

MAX_CLAIMS: Final = 32
MAX_IDENTITIES: Final = 64

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[keys.NAME.identities]]``: claims of a token of this provider and audience; certificates have none.

    ``patterns``: ``*`` stands for one or more characters other than ``/`` and ``:``.
    """

    issuer_url: _Text
    audience: _Text | None = None
    claims: Annotated[dict[str, _Text | int | bool], msgspec.Meta(max_length=MAX_CLAIMS)] = {}
    patterns: Annotated[dict[str, _Text], msgspec.Meta(max_length=MAX_CLAIMS)] = {}
    max_digests: Annotated[int, msgspec.Meta(ge=1, le=MAX_DIGESTS)] = MAX_DIGESTS


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    state: Literal["active", "suspended"] = "active"


class _Issuer(msgspec.Struct, frozen=True, kw_only=True):
    public_key: str
    expires: datetime
    state: Literal["active", "revoked"] = "active"
    max_grant_s: float = 900.0
    max_digests: int = 2000
    keys: tuple[str, ...] | None = None


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    algorithms: tuple[Algorithm, ...]
    issuers: tuple[str, ...] = ()
    identities: Annotated[tuple[IdentitySettings, ...], msgspec.Meta(max_length=MAX_IDENTITIES)] = ()


class TenantFiles:
    """Reader of tenants' files for one issuer."""

    def __init__(self, configuration: IssuerConfiguration) -> None:
        self._name = configuration.name
        self._spki = configuration.public_key.spki

    def read(self, file: Path) -> tuple[TenantRules, int] | None:
        """Rules of the tenant, and when its table of this issuer expires (Unix ms); None where it has no such table in force.

        Raises ``ConfigError`` for a file that is wrong, also where it names another key for this issuer.
        """
        tables = read_toml(file)
        head = convert(file, "", {k: v for k, v in tables.items() if k in {"tenant", "state"}}, _Head)
        issuers = expect_table(file, "issuers", tables.get("issuers", {}))
        if head.tenant != file.stem or head.state == "suspended" or self._name not in issuers:
            return None
        path = f"issuers.{self._name}"
        issuer = convert(file, path, issuers[self._name], _Issuer)
        if issuer.state == "revoked":
            return None
        if base64_bytes(file, f"{path}.public_key", issuer.public_key) != self._spki:
            raise ConfigError(
                str(file), f"{path}.public_key", "is not the key of this issuer", "Paste its `public_key`."
            )
        keys = expect_table(file, "keys", tables.get("keys", {}))
        rules = TenantRules(
            tenant=head.tenant,
            keys={
                name: key
                for name, table in keys.items()
                if (issuer.keys is None or name in issuer.keys)
                and (key := self._key(file, name, table)) is not None
            },
            max_grant_ms=int(issuer.max_grant_s * 1000),
            max_digests=issuer.max_digests,
        )
        return rules, unix_ms(file, f"{path}.expires", issuer.expires)

    def _key(self, file: Path, name: str, table: object) -> KeyRules | None:
        """Rules of a key; None where it does not name this issuer."""
        path = f"keys.{expect_name(file, f'keys.{name}', name)}"
        key = convert(file, path, table, _Key)
        if self._name not in key.issuers:
            return None
        rules = [
            identity_rule(file, f"{path}.identities[{i}]", identity)
            for i, identity in enumerate(key.identities)
        ]
        return KeyRules(rules=tuple(rules), algorithms=frozenset(map(str, key.algorithms)))


def identity_rule(file: Path, path: str, settings: IdentitySettings) -> IdentityRule:
    """The rule of one table. Raises ``ConfigError`` for a pattern that is none."""
    claims: dict[str, Expected] = {**settings.claims}
    for claim, text in settings.patterns.items():
        if "*" not in text or "**" in text or claim in claims:
            raise ConfigError(
                str(file),
                f"{path}.patterns.{claim}",
                "is no pattern: it has no `*`, or two in a row, or is among `claims` too",
                "Write exact texts into `claims`; `*` stands for one or more characters other than `/` and `:`.",
            )
        claims[claim] = Pattern(text)
    return IdentityRule(
        issuer_url=settings.issuer_url,
        audience=settings.audience or "",
        claims=claims,
        max_digests=settings.max_digests,
    )


__all__ = ["IdentitySettings", "TenantFiles", "identity_rule"]
