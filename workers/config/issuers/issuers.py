"""Issuers of grants in a tenant's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from queueing.config.toml import convert
from queueing.errors import ConfigError
from queueing.protocol.grants.grant import IssuerName
from workers.config.issuers.tables import IssuerSettings
from workers.config.values import signer_key, unix_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from queueing.protocol.client_keys import ClientPublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantIssuer:
    """Issuer of a tenant: the public key of its grants, its expiry (Unix ms), and what a grant permits at most.

    ``keys`` None: every key that names the issuer.
    """

    name: str
    public_key: ClientPublicKey
    expires_at_ms: int
    revoked: bool
    max_grant_ms: int
    max_digests: int
    keys: frozenset[str] | None = None


def read_issuer(file: Path, name: str, table: object) -> TenantIssuer:
    """Issuer of the table ``[issuers.NAME]``. Raises ``ConfigError``."""
    path = f"issuers.{name}"
    try:
        convert(file, path, name, IssuerName)
    except ConfigError:
        raise ConfigError(
            str(file),
            path,
            f"`{name}` is not an issuer's name",
            "Use 1 to 30 of a-z, 0-9, `.`, `_`, `-`, beginning and ending with a letter or digit.",
        ) from None
    settings = convert(file, path, table, IssuerSettings)
    return TenantIssuer(
        name=name,
        public_key=signer_key(
            file,
            f"{path}.public_key",
            settings.public_key,
            "Paste the public key that the issuer's host shows.",
        ),
        expires_at_ms=unix_ms(file, f"{path}.expires", settings.expires),
        revoked=settings.state == "revoked",
        max_grant_ms=int(settings.max_grant_s * 1000),
        max_digests=settings.max_digests,
        keys=None if settings.keys is None else frozenset(settings.keys),
    )


def refuse_unknown_issuers(
    file: Path, of_keys: Mapping[str, Collection[str]], issuers: Collection[str]
) -> None:
    """Refuse unknown names in a key's ``issuers``: an issuer that gets such a name later could grant the key."""
    for key, names in of_keys.items():
        for name in sorted(set(names).difference(issuers)):
            raise ConfigError(
                str(file),
                f"keys.{key}.issuers",
                f"no issuer `{name}`",
                f"Add [issuers.{name}], or correct the name.",
            )


def refuse_unknown_keys(file: Path, issuers: Iterable[TenantIssuer], keys: Collection[str]) -> None:
    """Refuse unknown names in an issuer's ``keys``."""
    for issuer in issuers:
        for name in sorted((issuer.keys or frozenset()).difference(keys)):
            raise ConfigError(
                str(file),
                f"issuers.{issuer.name}.keys",
                f"no key `{name}`",
                f"Add [keys.{name}], or correct the name.",
            )


def refuse_shared_keys(
    file: Path, issuers: Mapping[str, TenantIssuer], clients: Mapping[str, ClientPublicKey]
) -> None:
    """Refuse a public key under two names: revoked under one, it would still grant or sign under the other."""
    seen = {key.spki: f"clients.{name}" for name, key in clients.items()}
    for name, issuer in issuers.items():
        first = seen.setdefault(issuer.public_key.spki, f"issuers.{name}")
        if first != f"issuers.{name}":
            raise ConfigError(
                str(file),
                f"issuers.{name}.public_key",
                f"is the same as that of {first}",
                "Give each issuer a key of its own.",
            )
