"""Canary: the constant that is signed, and the keys that are tried. Worker and lane both derive them.

A frame that requests a canary names a key of the lane's own tenant and nothing else, so that an attacker who controls
the worker, or Redis, gets signatures over this constant and over no digest of their choice (ADR 0032).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from queueing.errors import EnvelopeMalformed, KeyUnknown, LimitRate, PolicyDenied, SigningError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS
from workers.config.service_file import SERVICE_KEY_NAME, SERVICE_KEY_VERSION
from workers.config.stop_rules import NO_STOPS, Stops
from workers.config.tenants import KeyVersion
from workers.lanes.authorisation import Authorised

if TYPE_CHECKING:
    from queueing.protocol.algorithms import Algorithm
    from workers.config.service_file import ServiceKey
    from workers.config.tenants import Tenant, TenantKey

CANARY: Final = b"sigmill canary 1: signed to see that this key signs, and for nothing else\n"
"""A canary signs the hash of this and nothing else. No format that is signed begins like this."""

LEAST_PAUSE_S: Final = 1.0
"""Shortest time between two canaries of a lane with the same key: they are charged to no tenant, and must not keep an
HSM busy."""


def canary_digest(algorithm: Algorithm) -> bytes:
    """Hash of the constant, as the algorithm signs it (Ed25519 signs its SHA-512)."""
    return hashlib.new(FACTS[algorithm].hash_name or "sha512", CANARY).digest()


def service_version(service_key: ServiceKey) -> KeyVersion:
    """Key of the service as a key version: it has one, which does not expire."""
    return KeyVersion(
        key=SERVICE_KEY_NAME,
        version=SERVICE_KEY_VERSION,
        state="active",
        public_key=service_key.public_key,
        tokens=(service_key.token,),
        expires_at_ms=None,
        certificates=(),
    )


def service_canary(service_key: ServiceKey) -> Authorised:
    """Canary of the service's token."""
    version = service_version(service_key)
    return _canary(version, DEFAULT_FOR_KEY[version.public_key.kind])


def tenant_canary(
    tenant: Tenant, token: str, name: str, number: int, *, now_ms: int, stops: Stops = NO_STOPS
) -> Authorised:
    """Canary of this version of a key. Raises a ``SigningError`` where the key may not sign now for any client."""
    if tenant.suspended:
        raise PolicyDenied("rule `state`: the tenant is suspended")
    stops.check_tenant()
    key = tenant.keys.get(name)
    if key is None:
        raise KeyUnknown
    stops.check_key(name)
    key.policy.check_time(now_ms)
    version = key.version_to_sign(number, now_ms)
    stops.check_version(name, version.version)
    if token not in version.tokens:
        raise EnvelopeMalformed("the key is not in this token")
    return _canary(version, key.default_algorithm)


def tenant_canaries(tenant: Tenant, token: str, *, now_ms: int, stops: Stops = NO_STOPS) -> list[Authorised]:
    """Canaries of a token: the first key by name that may sign now, and each key with ``canary`` set."""
    found: list[Authorised] = []
    for _, key in sorted(tenant.keys.items()):
        if not found or key.canary:
            found += _usable(tenant, token, key, now_ms, stops)[: None if key.canary else 1]
    return found


def newest_canaries(tenant: Tenant, token: str, *, now_ms: int, stops: Stops = NO_STOPS) -> list[Authorised]:
    """Canaries of the newest usable version of each key of a token: what jobs are signed with."""
    return [
        canary
        for _, key in sorted(tenant.keys.items())
        for canary in _usable(tenant, token, key, now_ms, stops)[:1]
    ]


def _usable(tenant: Tenant, token: str, key: TenantKey, now_ms: int, stops: Stops) -> list[Authorised]:
    """Canaries of the usable versions of a key, from the newest version to the oldest."""
    usable = []
    for version in reversed(key.versions):
        try:
            usable.append(tenant_canary(tenant, token, key.name, version.version, now_ms=now_ms, stops=stops))
        except SigningError:
            continue
    return usable


def _canary(version: KeyVersion, algorithm: Algorithm) -> Authorised:
    return Authorised(digests=(canary_digest(algorithm),), key_version=version, algorithm=algorithm)


class CanaryPace:
    """Rate limit of a lane's canaries: one for each key in ``LEAST_PAUSE_S``."""

    def __init__(self) -> None:
        self._next_s: dict[bytes, float] = {}

    def check(self, public_key_sha256: bytes, now_s: float) -> None:
        """Raise ``LimitRate`` (retryable) when the last one was a moment ago; ``now_s`` is monotonic."""
        wait_s = self._next_s.get(public_key_sha256, now_s) - now_s
        if wait_s > 0:
            raise LimitRate("the key had its canary a moment ago", retry_after_s=wait_s)
        self._next_s[public_key_sha256] = now_s + LEAST_PAUSE_S
