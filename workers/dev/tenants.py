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
