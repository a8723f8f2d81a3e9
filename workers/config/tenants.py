"""Tenant in use by workers and lanes: names resolved, public keys parsed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import KeyDisabled, KeyExpired, KeyUnknown
from queueing.protocol.key_directory import KeyDirectory, KeyEntry, KeyState, KeyVersionEntry
from queueing.unix_time import unix_ms
from workers.config.tenant_limits import TenantLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.client_keys import ClientPublicKey
    from queueing.protocol.public_keys import PublicKey
    from workers.config.issuers.identities import IdentityRule
    from workers.config.issuers.issuers import TenantIssuer
    from workers.config.key_policy import KeyPolicy
    from workers.config.settings import TenantClass


DIRECTORY_LEAD_MS: Final = 60_000
"""Time before ``active_from`` at which directories have the version as active: several tries to publish one.

From then on it signs for callers that name it; who names no version gets it at ``active_from``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantClient:
    """Client of a tenant: the public key of its envelopes, and its expiry (Unix ms)."""

    name: str
    public_key: ClientPublicKey
    expires_at_ms: int
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVersion:
    """One version of a key: its public key, the tokens that hold it, and its state. Times are Unix ms.

    ``state`` is that of the file; ``state_at`` also regards the times from which the version is active or verify-only.
    """

    key: str
    version: int
    state: KeyState
    public_key: PublicKey
    tokens: tuple[str, ...]
    expires_at_ms: int | None
    certificates: tuple[bytes, ...]
    chains: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    created_at_ms: int | None = None
    active_from_ms: int | None = None
    verify_only_from_ms: int | None = None

    def state_at(self, now_ms: int) -> KeyState:
        """State at this time (Unix ms)."""
        state = self.state
        if state == "next" and self.active_from_ms is not None and self.active_from_ms <= now_ms:
            state = "active"
        if state == "active" and self.verify_only_from_ms is not None and self.verify_only_from_ms <= now_ms:
            state = "verify-only"
        return state

    @property
    def state_now(self) -> KeyState:
        """State by this host's clock."""
        return self.state_at(unix_ms())

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """Certificates of this key by all authorities, in DER."""
        chains = (self.certificates, *self.chains.values())
        return tuple(chain[0] for chain in chains if chain)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantKey:
    """Key with its versions, oldest first, and its algorithms. ``canary``: each version signs its own canary.

    ``identities``: for the issuer of grants; no lane judges by them.
    """

    name: str
    algorithms: frozenset[Algorithm]
    default_algorithm: Algorithm
    profile: str
    versions: tuple[KeyVersion, ...]
    policy: KeyPolicy
    canary: bool = False
    identities: tuple[IdentityRule, ...] = ()

    def version_to_sign(self, version: int, now_ms: int) -> KeyVersion:
        """The requested version; 0 requests the newest active one.

        A version by name signs as soon as directories have it as active: who names it has read one.

        Raises ``KeyUnknown``, ``KeyDisabled`` or ``KeyExpired`` (all final).
        """
        if version:
            found = next((v for v in self.versions if v.version == version), None)
            if found is None:
                raise KeyUnknown(f"the key has no version {version}")
        else:
            found = next((v for v in reversed(self.versions) if v.state_at(now_ms) == "active"), None)
            if found is None:
                raise KeyDisabled("the key has no active version")
        state = _published_state(found, now_ms) if version else found.state_at(now_ms)
        if state != "active":
            raise KeyDisabled(f"version {found.version} of the key is {state}")
        if found.expires_at_ms is not None and found.expires_at_ms <= now_ms:
            raise KeyExpired(f"version {found.version} of the key has expired")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Configuration of one tenant at one epoch."""

    name: str
    epoch: int
    suspended: bool
    max_envelope_age_ms: int
    clients: dict[str, TenantClient]
    keys: dict[str, TenantKey]
    issuers: dict[str, TenantIssuer] = field(default_factory=dict)
    lifted_orders: frozenset[bytes] = frozenset()
    limits: TenantLimits = field(default_factory=TenantLimits)
    tenant_class: TenantClass

    @property
    def tokens(self) -> frozenset[str]:
        """All tokens that hold a key of this tenant."""
        return frozenset(t for key in self.keys.values() for v in key.versions for t in v.tokens)

    def directory(self, *, audience: str, issued_at_ms: int, expires_at_ms: int) -> KeyDirectory:
        """Key directory of the tenant, as its clients receive it."""
        return KeyDirectory(
            audience=audience,
            tenant=self.name,
            epoch=self.epoch,
            issued_at_ms=issued_at_ms,
            expires_at_ms=expires_at_ms,
            keys={name: _entry(key, issued_at_ms) for name, key in self.keys.items()},
        )

    def next_change_ms(self, now_ms: int) -> int | None:
        """Time (Unix ms) of the next change of a directory that is issued now; None if no change is scheduled."""
        moments = [
            moment
            for key in self.keys.values()
            for v in key.versions
            for moment in (_minus_lead(v.active_from_ms), v.verify_only_from_ms)
            if moment is not None and moment > now_ms
        ]
        return min(moments, default=None)


def _minus_lead(moment_ms: int | None) -> int | None:
    return None if moment_ms is None else moment_ms - DIRECTORY_LEAD_MS


def _published_state(version: KeyVersion, now_ms: int) -> KeyState:
    """State in a directory: a version is active there before it signs, so that no client gets a signature too early."""
    soon = version.state_at(now_ms + DIRECTORY_LEAD_MS)
    return soon if version.state_at(now_ms) == "next" and soon == "active" else version.state_at(now_ms)


def _entry(key: TenantKey, now_ms: int) -> KeyEntry:
    return KeyEntry(
        algorithms=tuple(sorted(key.algorithms)),
        default_algorithm=key.default_algorithm,
        versions=tuple(
            KeyVersionEntry(
                version=v.version,
                state=_published_state(v, now_ms),
                public_key=v.public_key.spki,
                certificates=v.certificates,
                chains=dict(v.chains),
                created_at_ms=v.created_at_ms,
            )
            for v in key.versions
        ),
    )
