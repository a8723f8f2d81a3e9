"""Key that an operator wants to create or adopt, checked against the configuration."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import ConfigError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey, placeholder_key
from workers.cli.shell.output import Output, emit, print_difference, print_message
from workers.config.key_policy import EVERY_CLIENT
from workers.config.service_file import SERVICE
from workers.config.tenant_edits import NewVersion, add_version, version_block
from workers.config.tenant_file import load_tenant
from workers.config.tenant_writer import edit_tenant, preview_tenant, token_owners
from workers.token_admin.owned_tokens import admin_for

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.protocol.key_directory import KeyState
    from workers.config.loading import ServiceScope
    from workers.config.tenant_writer import EditedTenant
    from workers.config.tenants import TenantKey
    from workers.token_admin.client import TokenAdmin

KIND_NAMES: Final[dict[str, KeyKind]] = {str(kind).lower().replace("_", "-"): kind for kind in KeyKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """Requested key version; ``tenant`` None is the service key. ``created``: when the token made it, if it was this command's."""

    scope: ServiceScope
    tenant: str | None
    key: str
    token: str
    version: int | None
    state: KeyState | None
    algorithms: tuple[Algorithm, ...]
    profile: str
    clients: tuple[str, ...]
    write: bool
    created: datetime | None = None

    def configured(self) -> TenantKey | None:
        """The key in the tenant's file; None if it is new."""
        if self.tenant is None or not self.scope.tenant_file(self.tenant).exists():
            return None
        tenant = load_tenant(self.scope.tenant_file(self.tenant), self.scope.tokens)
        return tenant.keys.get(self.key)

    def version_number(self) -> int:
        """The given version, or the next one."""
        existing = self.configured()
        return self.version or (1 if existing is None else existing.versions[-1].version + 1)

    def default_label(self) -> str:
        """CKA_LABEL of the key where none is given."""
        number = self.version_number()
        return f"sigmill.service.v{number}" if self.tenant is None else f"{self.tenant}.{self.key}.v{number}"

    def token_admin(self) -> TokenAdmin:
        """Administration of the token; raises ``ConfigError`` if it is not configured."""
        if self.token not in self.scope.tokens:
            raise ConfigError(
                str(self.scope.file), "tokens", f"no token `{self.token}`", f"Add [tokens.{self.token}]."
            )
        return admin_for(self.scope, self.token, owner=self.tenant or SERVICE)

    def new_version(self, public_key: PublicKey) -> NewVersion:
        """The version to add to the configuration: the first is active, later ones are ``next``."""
        return NewVersion(
            key=self.key,
            version=self.version_number(),
            state=self.state or ("active" if self.configured() is None else "next"),
            public_key=public_key,
            tokens=(self.token,),
            algorithms=self.algorithms or (DEFAULT_FOR_KEY[public_key.kind],),
            profile=self.profile,
            clients=self.clients or (EVERY_CLIENT,),
            created=self.created,
        )

    def check(self, public_key: PublicKey) -> EditedTenant | None:
        """The tenant's file with this key added; None of the service key. Raises ``ConfigError`` where it would be invalid."""
        if self.tenant is None:
            self._check_service_token()
            return None
        return preview_tenant(
            self.scope, self.tenant, lambda text: add_version(text, self.new_version(public_key))
        )

    def toml(self, new: NewVersion) -> str:
        """TOML lines that add the version to the configuration."""
        if self.tenant is not None:
            return version_block(new, key_is_new=self.configured() is None)
        spki = base64.b64encode(new.public_key.spki).decode()
        return f'[service_key]\ntoken = "{self.token}"\npublic_key = "{spki}"\n'

    def file(self) -> Path:
        """Configuration file for those lines."""
        return self.scope.file if self.tenant is None else self.scope.tenant_file(self.tenant)

    def write_version(self, new: NewVersion) -> Path:
        """Add the lines to the file and return its path; the file is unchanged if this raises ``ConfigError``."""
        if self.tenant is None:
            raise ConfigError(str(self.file()), "service_key", "must be added by hand", "Paste the block.")
        edit_tenant(self.scope, self.tenant, lambda text: add_version(text, new))
        return self.file()

    def _check_service_token(self) -> None:
        owner = token_owners(self.scope).get(self.token, "the service")
        if owner != "the service":
            raise ConfigError(
                str(self.scope.file),
                "service_key.token",
                f"token `{self.token}` belongs to {owner}",
                "Give the service key a token and PIN of its own.",
            )


class KeyPreview(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a dry run would create; ``difference`` of the file with an ellipsis in the place of its public key."""

    tenant: str | None
    key: str
    version: int
    token: str
    label: str
    kind: KeyKind
    difference: str


def print_preview(
    output: Output, request: KeyRequest, kind: KeyKind, label: str | None, edited: EditedTenant | None
) -> None:
    """Print what would be created and written; no token is asked."""
    placeholder = placeholder_key(kind)
    difference = "" if edited is None else edited.difference()
    for text in (base64.b64encode(placeholder.spki).decode(), placeholder.sha256.hex()):
        difference = difference.replace(text, "…")
    line = KeyPreview(
        tenant=request.tenant,
        key=request.key,
        version=request.version_number(),
        token=request.token,
        label=label or request.default_label(),
        kind=kind,
        difference=difference,
    )
    if output.as_json:
        emit(line)
        return
    print_difference(line.difference, written=None)
    print_message(f"a {kind} key would be created in token {line.token} as {line.label!r}")
