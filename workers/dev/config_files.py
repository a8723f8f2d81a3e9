"""Configuration files of a private stack, in the form that an operator would write."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.public_keys import PublicKey
from workers.config.settings import PinLogin, TokenSettings
from workers.config.tenant_edits import NewVersion, add_version, change_key
from workers.dev.tenants import (
    AUDIENCE,
    CLIENT,
    ISSUER,
    ISSUER_TOKEN,
    KEY,
    MAX_DIGESTS,
    MAX_GRANT_S,
    PROJECT_CLAIM,
    PROVIDER,
    PROVIDER_URL,
    SERVICE_TOKEN,
    TOKEN_AUDIENCE,
    DevTenant,
)

if TYPE_CHECKING:
    from pathlib import Path

_CLIENT_LIFETIME: Final = timedelta(days=30)


class RedisAddress(Protocol):
    """Unix socket and password file of a redis-server."""

    @property
    def socket(self) -> Path:
        """Path of the unix socket."""

    @property
    def password_file(self) -> Path:
        """Path of the password file, of mode 0600."""


def service_file(
    *,
    redis: RedisAddress,
    tokens: dict[str, TokenSettings],
    service_key: PublicKey,
    metrics_port: int,
    state_dir: str,
    record: bool = False,
) -> str:
    """Text of ``sigmill.toml`` for one worker; ``record``: with a record of what it signs."""
    tables = [
        f"""\
[service]
audience = "{AUDIENCE}"
state_dir = "{state_dir}"

[redis]
unix_socket = {json.dumps(str(redis.socket))}
password_file = {json.dumps(str(redis.password_file))}

[service_key]
token = "{SERVICE_TOKEN}"
public_key = "{_base64(service_key.spki)}"

[metrics]
port = {metrics_port}
""",
        *(["[record]\nenabled = true\n"] if record else []),
        *(token_table(name, token) for name, token in tokens.items()),
    ]
    return "\n".join(tables)


def tenant_text(tenant: DevTenant, key: PublicKey, client: ClientKey, issuer: PublicKey | None = None) -> str:
    """Text of a tenant's file, with one client and one key in the token of the tenant's name.

    With ``issuer`` builds of the tenant's project sign under its grants as well.
    """
    expires = datetime.now(UTC).replace(microsecond=0) + _CLIENT_LIFETIME
    head = f"""\
tenant = "{tenant.name}"

[clients.{CLIENT}]
public_key = "{_base64(client.public_spki)}"
expires = {expires.isoformat().replace("+00:00", "Z")}
"""
    text = add_version(
        head,
        NewVersion(
            key=KEY,
            version=1,
            state="active",
            public_key=key,
            tokens=(tenant.name,),
            algorithms=(DEFAULT_FOR_KEY[key.kind],),
            profile="code-signing",
        ),
    )
    if issuer is None:
        return text
    return f"""\
{change_key(text, KEY, {"issuers": [ISSUER]}).rstrip()}

[issuers.{ISSUER}]
public_key = "{_base64(issuer.spki)}"
expires = {expires.isoformat().replace("+00:00", "Z")}
max_grant_s = {MAX_GRANT_S}
max_digests = {MAX_DIGESTS}

[[keys.{KEY}.identities]]
issuer_url = "{PROVIDER_URL}"
audience = "{TOKEN_AUDIENCE}"
claims = {{ {PROJECT_CLAIM} = "{tenant.name}", ref = "refs/heads/main" }}
"""


def issuer_file(
    *,
    token: TokenSettings,
    public_key: PublicKey,
    issuer: str,
    http: str,
    metrics: str,
    provider: str = "",
) -> str:
    """Text of ``issuer.toml``, with server.pem and server.key beside it; ``issuer``, ``http``, ``metrics`` and ``provider``: further lines there."""
    return f"""\
[issuer]
name = "{ISSUER}"
audience = "{AUDIENCE}"
token = "{ISSUER_TOKEN}"
public_key = "{_base64(public_key.spki)}"
grant_s = {MAX_GRANT_S}
max_digests = {MAX_DIGESTS}
{issuer}

[http]
certificate = "server.pem"
private_key = "server.key"
{http}

[metrics]
{metrics}

[providers.{PROVIDER}]
issuer_url = "{PROVIDER_URL}"
algorithms = ["ES256"]
{provider}

{token_table(ISSUER_TOKEN, token)}"""


def token_client(tenant: DevTenant, service: PublicKey, *, relay: str, issuer: str) -> str:
    """Text of a ``client.toml`` whose only secret is the token in the file ``token``; its ephemeral key is kept in ``build.key``.

    ``relay`` and ``issuer``: lines that say where they are.
    """
    return f"""\
audience = "{AUDIENCE}"
tenant = "{tenant.name}"
service_public_keys = ["{_base64(service.spki)}"]
identity = {{ from = "file", file = "token", key_file = "build.key" }}
{issuer}
{relay}
"""


def write_client(
    folder: Path, tenant: DevTenant, key: ClientKey, redis: RedisAddress, service: PublicKey
) -> Path:
    """Write the client's private key and ``client.toml``; return the path of the latter."""
    folder.mkdir(parents=True, mode=0o700)
    key.write(folder / "client.key")
    config = folder / "client.toml"
    config.write_text(
        f"""\
audience = "{AUDIENCE}"
tenant = "{tenant.name}"
client = "{CLIENT}"
private_key_file = "client.key"
service_public_keys = ["{_base64(service.spki)}"]

[redis]
unix_socket = {json.dumps(str(redis.socket))}
password_file = {json.dumps(str(redis.password_file))}
""",
        "utf-8",
    )
    return config


def token_table(name: str, token: TokenSettings) -> str:
    """Table ``[tokens.NAME]`` of a SoftHSM token."""
    if not isinstance(token.login, PinLogin):
        raise TypeError("a token of a private stack has a PIN")
    environment = ", ".join(f"{key} = {json.dumps(value)}" for key, value in token.environment.items())
    return f"""\
[tokens.{name}]
module = {json.dumps(token.module)}
select = {{ label = {json.dumps(token.select.label)} }}
login = {{ pin_file = {json.dumps(token.login.pin_file)} }}
environment = {{ {environment} }}
sessions = {token.sessions}
"""


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
