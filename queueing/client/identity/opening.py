"""Identity of a client by its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from queueing.client.identity.credentials import StaticIdentity
from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.client.identity.credentials import ClientIdentity
    from queueing.client.identity.settings import IdentitySettings, IssuerSettings


class Settings(Protocol):
    """The part of ``ClientConfig`` that makes its identity."""

    @property
    def audience(self) -> str:
        """Audience of the cluster."""

    @property
    def tenant(self) -> str:
        """Tenant of the client."""

    @property
    def client(self) -> str | None:
        """Name of a client with a key of its own."""

    @property
    def identity(self) -> IdentitySettings | None:
        """Source of tokens."""

    @property
    def issuer(self) -> IssuerSettings | None:
        """Issuer of grants."""


def identity_of(settings: Settings, key: ClientKey | None, now_ms: Callable[[], int]) -> ClientIdentity:
    """Identity of the client: with ``key``, or by grants. Raises ``ConfigError``."""
    if key is not None and settings.client is not None:
        return StaticIdentity(settings.client, key)
    if settings.identity is None or settings.issuer is None:
        raise ConfigError(
            "client.toml",
            "",
            "has neither a key of the client's own nor an identity",
            "Give `client` and `private_key_file`, or `identity` and `issuer`.",
        )
    return _granted_identity(settings, settings.identity, settings.issuer, now_ms)


def _granted_identity(
    settings: Settings, identity: IdentitySettings, issuer: IssuerSettings, now_ms: Callable[[], int]
) -> ClientIdentity:
    """Identity by grants. Its parts are loaded here: a client with a key of its own needs none of them."""
    from queueing.client.identity.grants import GrantedIdentity
    from queueing.client.identity.issuer_client import IssuerClient
    from queueing.client.identity.token_sources import source_of

    ephemeral = _ephemeral_key(identity.key_file)
    return GrantedIdentity(
        source=source_of(identity, public_key=raw_public_key(ephemeral)),
        issuer=IssuerClient(issuer, identity),
        key=ephemeral,
        audience=settings.audience,
        tenant=settings.tenant,
        keys=identity.keys,
        now_ms=now_ms,
    )


def raw_public_key(key: ClientKey) -> bytes:
    """The 32 bytes of an Ed25519 key's public half: the end of its SubjectPublicKeyInfo (RFC 8410 4)."""
    return key.public_spki[-32:]


def _ephemeral_key(path: str | None) -> ClientKey:
    """A new key in memory; with a path the key of that file, which is made where it is missing (mode 0600)."""
    key = ClientKey.generate()
    if path is None:
        return key
    file = Path(path)
    try:
        key.write(file)
    except FileExistsError:
        return ClientKey.from_file(file, remedy="Remove the file, or correct `identity.key_file`.")
    except OSError as error:
        raise ConfigError(
            str(file),
            "identity.key_file",
            f"cannot be written: {error.strerror}",
            "Name a file of the build.",
        ) from None
    return key
