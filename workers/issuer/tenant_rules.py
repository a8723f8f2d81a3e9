"""Rules of the tenants' files as the issuer reads them: keys that name this issuer, their identities, and its caps.

Only what concerns the issuer is read: it needs no token of the service, and no certificate. A changed file is in force at the
next request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from queueing.protocol.algorithms import Algorithm
from workers.config.issuers.identities import read_identities
from workers.config.issuers.issuers import read_issuer
from workers.config.issuers.tables import IdentitySettings
from workers.config.values import expect_name, expect_table
from workers.issuer.identity.rules import KeyRules, TenantRules

if TYPE_CHECKING:
    from pathlib import Path

    from workers.issuer.issuer_file import IssuerConfiguration

MAX_IDENTITIES: Final = 64
"""Of one key: a request costs at most so many comparisons of claims for each key."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    state: Literal["active", "suspended"] = "active"


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
        issuer = read_issuer(file, self._name, issuers[self._name])
        if issuer.revoked:
            return None
        if issuer.public_key.spki != self._spki:
            raise ConfigError(
                str(file),
                f"issuers.{self._name}.public_key",
                "is not the key of this issuer",
                "Paste the `public_key` of the issuer's file.",
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
            max_grant_ms=issuer.max_grant_ms,
            max_digests=issuer.max_digests,
        )
        return rules, issuer.expires_at_ms

    def _key(self, file: Path, name: str, table: object) -> KeyRules | None:
        """Rules of a key; None where it does not name this issuer."""
        path = f"keys.{expect_name(file, f'keys.{name}', name)}"
        key = convert(file, path, table, _Key)
        if self._name not in key.issuers:
            return None
        rules = read_identities(file, name, key.identities, key.issuers)
        return KeyRules(rules=rules, algorithms=frozenset(map(str, key.algorithms)))
