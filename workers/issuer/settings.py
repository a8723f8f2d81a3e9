"""Tables of the issuer's file as structs. Paths are relative to the file; secrets are files of their own."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from queueing.config.addresses import bare_host
from queueing.protocol.grants.grant import MAX_DIGESTS, IssuerName
from queueing.protocol.names import Name

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""JWS algorithms of providers (RFC 7518 3.1, RFC 8037); no symmetric ones, and not ``none``."""

Url = Annotated[str, Meta(pattern=r"^https://[!-~]{1,500}\Z")]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables: frozen, keyword-only, unknown keys refused."""


class IssuerSettings(_Strict, frozen=True):
    """``[issuer]``. ``name``: that of its table [issuers.NAME] in tenants' files. ``audience``: that of the service's file.

    ``token`` and ``public_key``: the P-256 key that signs grants. ``grant_s`` and ``max_digests``: the longest and largest grants;
    the tenants' files may allow less. ``keys_dir``: providers' keys, which `sigmill issuer refresh` writes. ``socket``: that of a
    host-started lane (`sigmill issuer lane`), which serves ``front_uid`` only; without it the front starts the lane.
    ``refresh_socket``: at which `refresh --watch` is told of unknown keys.
    """

    name: IssuerName
    audience: Annotated[str, Meta(min_length=1, max_length=128)]
    token: Name
    public_key: str
    state_dir: str
    keys_dir: str
    tenants_dir: str = "tenants"
    grant_s: Annotated[float, Meta(ge=60, le=86_400)] = 900.0
    max_digests: Annotated[int, Meta(ge=1, le=MAX_DIGESTS)] = 100_000
    socket: str | None = None
    front_uid: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    refresh_socket: str | None = None


class HttpSettings(_Strict, frozen=True):
    """``[http]``: address of the front, and its TLS. Port 0 is any free port.

    ``certificate`` and ``private_key``: PEM files of the front; ``client_ca``: authorities of client certificates, which are then
    asked for.
    """

    certificate: str
    private_key: str
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8443
    client_ca: str | None = None
    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = 1000

    def __post_init__(self) -> None:
        """Take an IPv6 address in brackets, too."""
        force_setattr(self, "host", bare_host(self.host))


class ProviderSettings(_Strict, frozen=True):
    """``[providers.NAME]``: a provider of tokens. ``issuer_url``: its ``iss``, character by character.

    ``algorithms``: those that its tokens have. ``jwks_url``: where its keys are; without it, its OpenID configuration says so.
    ``ca_file``: authorities for its TLS, instead of the host's. ``max_token_s``: the longest life of a token. ``max_keys_age_s``:
    age at which keys that could not be fetched again are no longer used. ``bound``: tokens must name the ephemeral key in their
    ``aud`` (`bound = true` of the client's identity), so that no other key can use them, be it the first.
    """

    issuer_url: Url
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)] = ("RS256",)
    jwks_url: Url | None = None
    ca_file: str | None = None
    max_token_s: Annotated[float, Meta(ge=60, le=30 * 86_400)] = 86_400.0
    max_keys_age_s: Annotated[float, Meta(ge=60, le=30 * 86_400)] = 7 * 86_400.0
    bound: bool = False


class CertificatesSettings(_Strict, frozen=True):
    """``[certificates.NAME]``: an authority of client certificates, as the identity ``x509:NAME``.

    ``ca_file``: PEM of its roots and intermediates. ``trust_domain``: of SPIFFE; without it certificates have one DNS name.
    """

    ca_file: str
    trust_domain: Annotated[str, Meta(pattern=r"^[a-z0-9._-]{1,255}\Z")] = ""
