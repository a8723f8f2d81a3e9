"""Tenants of a private stack, with their kinds of key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from queueing.protocol.algorithms import KeyKind

AUDIENCE: Final = "sigmill-dev"
KEY: Final = "release"
CLIENT: Final = "build-1"
SERVICE_TOKEN: Final = "service"  # noqa: S105  # a name, no secret
SERVICE_KEY_KIND: Final = KeyKind.P256
SERVICE_KEY_LABEL: Final = "sigmill.service.v1"

ISSUER: Final = "ci"
ISSUER_TOKEN: Final = "issuer"  # noqa: S105  # a name, no secret
ISSUER_KEY_LABEL: Final = "sigmill-issuer"
MAX_GRANT_S: Final = 600
MAX_DIGESTS: Final = 100_000

PROVIDER: Final = "throwaway"
PROVIDER_URL: Final = "https://ci.sigmill.invalid"
"""``iss`` of the tokens; nothing is fetched from there (RFC 2606: the name resolves nowhere)."""

TOKEN_AUDIENCE: Final = "https://sigmill-dev.invalid"  # noqa: S105  # a name, no secret
PROJECT_CLAIM: Final = "project_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevTenant:
    """A tenant with one key, one token of the same name, and one client."""

    name: str
    kind: KeyKind

    @property
    def label(self) -> str:
        """Label of the key in the token: ``<tenant>.<key>.v<N>``."""
        return f"{self.name}.{KEY}.v1"


TENANTS: Final = (
    DevTenant(name="acme", kind=KeyKind.RSA_3072),
    DevTenant(name="globex", kind=KeyKind.P256),
    DevTenant(name="initech", kind=KeyKind.ED25519),
)
