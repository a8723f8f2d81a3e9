"""``client.toml``: who this client is, where its cluster is, and which service key it believes."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec
from msgspec.structs import replace

from queueing.client.identity.settings import IdentitySettings, IssuerSettings
from queueing.config.accept_level import AcceptLevel
from queueing.config.paths import absolute
from queueing.config.redis import RedisConfig
from queueing.config.secrets import secret_path
from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError, SigningError
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.names import Name
from queueing.protocol.public_keys import PublicKey

_URL: Final = re.compile(
    r"^https://(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?\Z"
)
_Deadline = Annotated[float, msgspec.Meta(gt=0, le=3650 * 86_400)]


class ClientConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one client. Read from a file, every path in it is absolute.

    ``client``, ``private_key_file``: a client of the tenant's file with its key; or ``identity`` and ``issuer``: grants for an ephemeral key.
    ``redis``, or ``url`` of a relay (``https://HOST:PORT``); ``ca_file``: PEM of the authorities that may vouch for the relay, instead
    of the host's; ``cert_file`` and ``key_file``: the client's own certificate and key, for a relay that wants one. All three are read
    again when they change.
    ``service_public_keys``: base64 of SPKI DER, two during the service key's rollover.
    ``envelope_ttl_s``: how long the service may sign what this client asks (4 h; a waiting client renews).
    ``linger_ms``: how long concurrent ``sign()`` calls are collected while others are under way.
    ``deadline_s``: how long calls wait by default; None waits for ever.
    ``directory_refresh_s``: age at which the key directory is fetched again; a revoked version is refused within this
    time, or, while Redis withholds the new directory, when the old one expires.
    ``receipt_timeout_s``: longest wait for a receipt after its signature.
    ``state_file``: the newest directory epoch seen, so that an older directory is refused after a restart.
    """

    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    tenant: Name
    client: Name | None = None
    private_key_file: str | None = None
    identity: IdentitySettings | None = None
    issuer: IssuerSettings | None = None
    service_public_keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=2)]
    redis: RedisConfig | None = None
    url: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    envelope_ttl_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 14_400.0
    linger_ms: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 2.0
    verify_signatures: bool = True
    deadline_s: _Deadline | None = None
    directory_refresh_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    receipt_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    state_file: str | None = None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read and check ``client.toml``; raises ``ConfigError``."""
        config = convert(path, "", read_toml(path), cls)
        config.pinned_keys(file=str(path))
        config.check_place(str(path))
        config.check_identity(str(path))
        base = path.absolute().parent
        return replace(
            config,
            private_key_file=config.private_key_file and absolute(base, config.private_key_file),
            identity=config.identity and config.identity.relative_to(base),
            issuer=config.issuer and config.issuer.relative_to(base),
            redis=None if config.redis is None else config.redis.relative_to(base),
            ca_file=None if config.ca_file is None else absolute(base, config.ca_file),
            cert_file=None if config.cert_file is None else absolute(base, config.cert_file),
            key_file=None if config.key_file is None else secret_path(base, config.key_file),
            state_file=absolute(base, config.state_file or f"{path.name}.state"),
        )

    def check_place(self, file: str) -> None:
        """Raise ``ConfigError`` unless exactly one place of the queue is named."""
        if (self.redis is None) == (self.url is None):
            problem = "neither [redis] nor `url` is given" if self.redis is None else "both are given"
            remedy = "Give [redis] for a Redis, or `url` for a relay."
            raise ConfigError(file, "redis" if self.redis is None else "url", problem, remedy)
        if self.redis is not None and self.redis.places() != 1:
            problem = f"{self.redis.places()} places are named"
            remedy = "Give one of `host`, `unix_socket`, `sentinel`, `cluster`."
            raise ConfigError(file, "redis", problem, remedy)
        if self.url is not None and not _URL.match(self.url):
            remedy = "Write it as https://HOST:PORT, as the operator of the relay says."
            raise ConfigError(file, "url", "this is not the address of a relay", remedy)
        for name in ("ca_file", "cert_file", "key_file"):
            if getattr(self, name) is not None and self.url is None:
                raise ConfigError(file, name, "is of a relay", "Write it into [redis.tls].")
        if (self.cert_file is None) != (self.key_file is None):
            missing = "key_file" if self.key_file is None else "cert_file"
            raise ConfigError(file, missing, "is missing", "Give `cert_file` and `key_file`, or neither.")

    def redis_settings(self) -> RedisConfig:
        """Settings of Redis; raises ``ConfigError`` where a relay is named instead."""
        if self.redis is None:
            remedy = "Name a Redis in [redis], for which you need an account of it."
            raise ConfigError("client.toml", "redis", "is needed for this, and `url` names a relay", remedy)
        return self.redis

    def with_accept_level(self, level: AcceptLevel) -> Self:
        """Copy of the settings with another accept level; raises ``ConfigError`` where a relay is named."""
        if self.redis is None:
            problem = "the accept level is the relay's, whose own configuration names it"
            raise ConfigError("client.toml", "url", problem, "Leave `accept` out.")
        return replace(self, redis=replace(self.redis, accept=level))

    def check_identity(self, file: str) -> None:
        """Raise ``ConfigError`` unless there is either a key of the client's own or an identity with its issuer."""
        own, granted = (self.client, self.private_key_file), (self.identity, self.issuer)
        if None not in own and granted == (None, None):
            return
        if own == (None, None) and self.identity is not None and self.issuer is not None:
            self.identity.checked(file)
            self.issuer.checked(file, self.identity)
            return
        missing = next((name for name in ("client", "private_key_file") if getattr(self, name) is None), "")
        if granted == (None, None):
            raise ConfigError(file, missing, "is missing", "Add it, or `identity` and `issuer` for grants.")
        raise ConfigError(
            file,
            "identity",
            "needs `issuer`, and neither `client` nor `private_key_file`",
            "Give `client` and `private_key_file`, or `identity` and `issuer`.",
        )

    def client_key(self) -> ClientKey | None:
        """The client's own key; None for a client with an identity. Raises ``ConfigError``."""
        return None if self.private_key_file is None else ClientKey.from_file(Path(self.private_key_file))

    def pinned_keys(self, *, file: str = "client.toml") -> tuple[PublicKey, ...]:
        """The service keys that this client believes; raises ``ConfigError``."""
        return tuple(
            _public_key(text, file, f"service_public_keys[{i}]")
            for i, text in enumerate(self.service_public_keys)
        )


def _public_key(text: str, file: str, key: str) -> PublicKey:
    remedy = "Paste the service's public key as the operator prints it: base64 of its SPKI."
    try:
        return PublicKey.from_spki(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, SigningError):
        raise ConfigError(file, key, "this is not the base64 of a public key (SPKI, DER)", remedy) from None
