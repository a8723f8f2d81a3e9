"""A key that an operator wants, and what the configuration says to that."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.errors import ConfigError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, KEY_KINDS, Algorithm, KeyFamily, KeyKind
from queueing.protocol.public_keys import PublicKey, elliptic_curve
from workers.config.key_policy import EVERY_CLIENT
from workers.config.tenant_edits import NewVersion, add_version, version_block
from workers.config.tenant_file import load_tenant
from workers.config.tenant_writer import edit_tenant, preview_tenant, token_owners
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from pathlib import Path

    from queueing.protocol.key_directory import KeyState
    from workers.config.loading import ServiceScope
    from workers.config.tenants import TenantKey

KIND_NAMES: Final[dict[str, KeyKind]] = {str(kind).lower().replace("_", "-"): kind for kind in KeyKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What the operator asked for; ``tenant`` None is the service key."""

    premises: ServiceScope
    tenant: str | None
    key: str
    token: str
    version: int | None
    state: KeyState | None
    algorithms: tuple[Algorithm, ...]
    profile: str
    clients: tuple[str, ...]
    write: bool

    def configured(self) -> TenantKey | None:
        """The key, where the tenant has it already."""
        if self.tenant is None or not self.premises.tenant_file(self.tenant).exists():
            return None
        tenant = load_tenant(self.premises.tenant_file(self.tenant), self.premises.tokens)
        return tenant.keys.get(self.key)

    def number(self) -> int:
        """The version asked for, or the next one."""
        known = self.configured()
        return self.version or (1 if known is None else known.versions[-1].version + 1)

    def desk(self) -> TokenAdmin:
        """The token's desk; ``ConfigError`` where there is no such token."""
        settings = self.premises.tokens.get(self.token)
        if settings is None:
            raise ConfigError(
                str(self.premises.file), "tokens", f"no token `{self.token}`", f"Add [tokens.{self.token}]."
            )
        return TokenAdmin(self.token, settings, self.premises.state_dir)

    def entry(self, public_key: PublicKey) -> NewVersion:
        """The version as it is to be entered: the first is active, a later one waits as ``next``."""
        return NewVersion(
            key=self.key,
            version=self.number(),
            state=self.state or ("active" if self.configured() is None else "next"),
            public_key=public_key,
            tokens=(self.token,),
            algorithms=self.algorithms or (DEFAULT_FOR_KEY[public_key.kind],),
            profile=self.profile,
            clients=self.clients or (EVERY_CLIENT,),
        )

    def check(self, public_key: PublicKey) -> None:
        """Raise ``ConfigError`` unless the configuration can take this key."""
        if self.tenant is None:
            self._check_service_token()
            return
        preview_tenant(self.premises, self.tenant, lambda text: add_version(text, self.entry(public_key)))

    def toml(self, new: NewVersion) -> str:
        """The lines that enter the version in the configuration."""
        if self.tenant is not None:
            return version_block(new, key_is_new=self.configured() is None)
        spki = base64.b64encode(new.public_key.spki).decode()
        return f'[service_key]\ntoken = "{self.token}"\npublic_key = "{spki}"\n'

    def file(self) -> Path:
        """Where those lines belong."""
        return self.premises.file if self.tenant is None else self.premises.tenant_file(self.tenant)

    def enter(self, new: NewVersion) -> Path:
        """Write them there; raises ``ConfigError``, and then the file is as it was."""
        if self.tenant is None:
            raise ConfigError(str(self.file()), "service_key", "is entered by hand", "Paste the block.")
        edit_tenant(self.premises, self.tenant, lambda text: add_version(text, new))
        return self.file()

    def _check_service_token(self) -> None:
        owner = token_owners(self.premises).get(self.token, "the service")
        if owner != "the service":
            raise ConfigError(
                str(self.premises.file),
                "service_key.token",
                f"token `{self.token}` belongs to {owner}",
                "Give the service key a token and PIN of its own.",
            )


def stand_in(kind: KeyKind) -> PublicKey:
    """A public key of this kind that nobody uses: so a configuration can be checked before its key is made."""
    return PublicKey.from_spki(_stand_in(kind).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _stand_in(kind: KeyKind) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    facts = KEY_KINDS[kind]
    match facts.family:
        case KeyFamily.RSA:
            return rsa.RSAPublicNumbers(e=65537, n=(1 << facts.rsa_bits) - 1).public_key()
        case KeyFamily.EC:
            return ec.derive_private_key(1, elliptic_curve(kind)).public_key()
        case KeyFamily.EDWARDS:
            return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
