"""Key version of a tenant's file that a command names by ``--tenant T --key K[/V]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from queueing.config.toml import nearest
from queueing.errors import ConfigError, KeyUnknown
from queueing.files.folders import is_there
from workers.cli.shell.options import combined, config_option
from workers.config.tenant_file import load_tenant
from workers.token_admin.owned_tokens import admin_for

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope
    from workers.config.tenants import KeyVersion, Tenant, TenantKey
    from workers.token_admin.client import TokenAdmin

version_options = combined(
    config_option,
    click.option("--tenant", required=True, help="Tenant of the key."),
    click.option("--key", required=True, metavar="KEY[/VERSION]", help="Name of the key."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedVersion:
    """A key version with the files that it was found in."""

    scope: ServiceScope
    tenant: Tenant
    key: TenantKey
    version: KeyVersion

    @property
    def name(self) -> str:
        """``KEY/VERSION``."""
        return f"{self.key.name}/{self.version.version}"

    def chain(self, name: str) -> tuple[bytes, ...]:
        """Certificates of the authority of this name in DER, the leaf first; of the first authority for an empty name. Empty if it has none."""
        return self.version.chains.get(name, ()) if name else self.version.certificates

    def token_admin(self, token: str | None = None) -> TokenAdmin:
        """Administration of this token, or of the first one that holds the version. Raises ``ConfigError``."""
        token = token or self.version.tokens[0]
        if token not in self.version.tokens:
            raise ConfigError(
                str(self.scope.tenant_file(self.tenant.name)),
                f"keys.{self.key.name}",
                f"version {self.version.version} is not in token `{token}`",
                f"Its tokens are {', '.join(self.version.tokens)}.",
            )
        return admin_for(self.scope, token, owner=self.tenant.name)


def find_key(scope: ServiceScope, tenant: str, name: str) -> tuple[Tenant, TenantKey]:
    """The tenant and its key of this name. Raises ``ConfigError`` for an unknown tenant, ``KeyUnknown``."""
    file = scope.tenant_file(tenant)
    if not is_there(file):
        raise ConfigError(str(file), "", "no such tenant", "`sigmill tenants list` prints the names.")
    found = load_tenant(file, scope.tokens)
    if name not in found.keys:
        raise KeyUnknown(f"the tenant `{tenant}` has no key `{name}`", hint=nearest(name, found.keys))
    return found, found.keys[name]


def find_version(scope: ServiceScope, tenant: str, key: str, *, wanted: tuple[str, ...]) -> PinnedVersion:
    """The version of ``KEY/VERSION``; without a version the newest in the first of the ``wanted`` states that has one.

    Raises as ``find_key`` does, and ``KeyUnknown`` where there is no such version.
    """
    name, slash, number = key.partition("/")
    owner, found = find_key(scope, tenant, name)
    if slash:
        versions = [v for v in found.versions if str(v.version) == number]
    else:
        versions = [v for state in wanted for v in reversed(found.versions) if v.state_now == state]
    if not versions:
        has = ", ".join(f"{v.version} {v.state_now}" for v in found.versions)
        asked = f"version `{number}`" if slash else f"version that is {' or '.join(wanted)}"
        raise KeyUnknown(f"the key `{name}` has no {asked}; it has {has}", hint="Name one as KEY/VERSION.")
    return PinnedVersion(scope=scope, tenant=owner, key=found, version=versions[0])
