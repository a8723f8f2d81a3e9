"""Signatories of envelopes: a client of the tenant's file, or the holder of a grant by one of its issuers.

Both have a public key, under which the envelope's signature is verified, and rules that are checked after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from queueing.errors import (
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    GrantExpired,
    GrantRefused,
    PolicyDenied,
)
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.grants.grant import read_grant

if TYPE_CHECKING:
    from queueing.protocol.algorithms import Algorithm
    from queueing.protocol.envelope import Envelope
    from queueing.protocol.grants.grant import Grant
    from workers.config.issuers.issuers import TenantIssuer
    from workers.config.stop_rules import Stops
    from workers.config.tenants import Tenant, TenantClient, TenantKey

GRANTS_REMEMBERED: Final = 4096
"""Verified grants of one process, 2 kB each; a build has one in 15 minutes."""

GRANT_SKEW_MS: Final = 60_000
"""The issuer's clock may be ahead or behind by so much."""


class Signatory(Protocol):
    """Maker of an envelope."""

    @property
    def public_key(self) -> ClientPublicKey:
        """Key of its envelopes."""

    @property
    def grant(self) -> Grant | None:
        """Verified grant; None for a client."""

    def check_standing(self, stops: Stops) -> None:
        """Raise where it is revoked or stopped, whatever the time."""

    def check_time(self, now_ms: int) -> None:
        """Raise where its time is over."""

    def check_key(self, key: TenantKey, algorithm: Algorithm, now_ms: int) -> None:
        """Raise ``PolicyDenied`` where it may not use the key, or not so, or not now."""


@dataclass(frozen=True, slots=True)
class ClientSignatory:
    """Client of the tenant's file."""

    client: TenantClient

    @property
    def public_key(self) -> ClientPublicKey:
        """Key of the file."""
        return self.client.public_key

    @property
    def grant(self) -> Grant | None:
        """No grant: a client signs by the tenant's file."""
        return None

    def check_standing(self, stops: Stops) -> None:
        """Raise ``ClientRevoked`` (final), by the file or by a stop order."""
        stops.check_client(self.client.name)
        if self.client.revoked:
            raise ClientRevoked

    def check_time(self, now_ms: int) -> None:
        """Raise ``ClientExpired`` (final)."""
        if self.client.expires_at_ms <= now_ms:
            raise ClientExpired

    def check_key(self, key: TenantKey, algorithm: Algorithm, now_ms: int) -> None:
        """Raise ``PolicyDenied`` (final) by the key's policy."""
        del algorithm  # those of the key are checked for everybody
        key.policy.check(self.client.name, now_ms)


class GrantSignatory(msgspec.Struct, frozen=True):
    """Holder of a grant whose signature is the issuer's. ``client``: that of its envelopes."""

    issuer: TenantIssuer
    grant: Grant
    public_key: ClientPublicKey
    client: str

    def check_standing(self, stops: Stops) -> None:
        """Raise ``PolicyDenied`` or ``ClientRevoked`` (final), by the file or by a stop order."""
        stops.check_issuer(self.issuer.name)
        stops.check_subject(self.grant.subject)
        stops.check_client(self.client)
        if self.issuer.revoked:
            raise PolicyDenied(f"rule `state`: the issuer `{self.issuer.name}` is revoked")

    def check_time(self, now_ms: int) -> None:
        """Raise ``GrantExpired``, or ``PolicyDenied`` for an issuer whose time is over or a grant above its caps (all final)."""
        grant, issuer = self.grant, self.issuer
        if issuer.expires_at_ms <= now_ms:
            raise PolicyDenied(f"rule `expires`: the issuer `{issuer.name}` has expired")
        if grant.expires_ms - grant.not_before_ms > issuer.max_grant_ms:
            raise PolicyDenied(
                f"rule `max_grant_s`: the grant lives for {(grant.expires_ms - grant.not_before_ms) // 1000} s,"
                f" the issuer may give {issuer.max_grant_ms // 1000}"
            )
        if grant.max_digests > issuer.max_digests:
            raise PolicyDenied(
                f"rule `max_digests`: the grant permits {grant.max_digests} digests, the issuer may give {issuer.max_digests}"
            )
        if now_ms < grant.not_before_ms - GRANT_SKEW_MS:
            raise GrantExpired("the grant has not begun by the clock of the worker's host")
        if grant.expires_ms + GRANT_SKEW_MS <= now_ms:
            raise GrantExpired("the grant has expired by the clock of the worker's host")

    def check_key(self, key: TenantKey, algorithm: Algorithm, now_ms: int) -> None:
        """Raise ``PolicyDenied`` (final) by the grant, the issuer's table or the key's policy."""
        if key.name not in self.grant.keys:
            raise PolicyDenied("rule `grant`: the grant does not list this key")
        if algorithm not in self.grant.algorithms:
            raise PolicyDenied(f"rule `grant`: the grant does not list {algorithm}")
        if self.issuer.keys is not None and key.name not in self.issuer.keys:
            raise PolicyDenied(f"rule `keys`: the issuer `{self.issuer.name}` may not grant this key")
        key.policy.check_issuer(self.issuer.name, now_ms)


class VerifiedGrants:
    """Grants whose signatures this process has verified, by their bytes; the newest ``GRANTS_REMEMBERED``."""

    def __init__(self, most: int = GRANTS_REMEMBERED) -> None:
        self._most = most
        self._known: dict[bytes, GrantSignatory] = {}

    def __contains__(self, sealed: bytes) -> bool:
        """Whether these bytes are of a grant whose signature was verified."""
        return sealed in self._known

    def signatory(self, envelope: Envelope, sealed: bytes, tenant: Tenant, audience: str) -> GrantSignatory:
        """Holder of the grant of an envelope, of which nothing but the grant's signature is verified here.

        Raises ``GrantMalformed`` or ``GrantRefused`` (both final). Costs one signature verification (about 60 us) for bytes
        that are not known.
        """
        known = self._known.get(sealed)
        if known is None or tenant.issuers.get(known.issuer.name) is not known.issuer:
            known = self._verified(sealed, tenant)  # new, or of an issuer that was changed since
        grant = known.grant
        if grant.audience != audience:
            raise GrantRefused("the grant was made for another cluster")
        if grant.tenant != tenant.name:
            raise GrantRefused("the grant was made for another tenant")
        if envelope.client != known.client:
            raise GrantRefused("the envelope's client is not that of its grant")
        return known

    def _verified(self, sealed: bytes, tenant: Tenant) -> GrantSignatory:
        unverified = read_grant(sealed)
        issuer = tenant.issuers.get(unverified.grant.issuer)
        if issuer is None:
            raise GrantRefused(f"the tenant `{tenant.name}` has no issuer `{unverified.grant.issuer}`")
        grant = unverified.verify(issuer.public_key)
        public_key = grant.holder()
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        known = self._known[sealed] = GrantSignatory(issuer, grant, public_key, grant.client)
        return known


def signatory_of(envelope: Envelope, tenant: Tenant, audience: str, grants: VerifiedGrants) -> Signatory:
    """Maker of an envelope by what it says: under a grant the holder, else the client that it names.

    Raises ``ClientUnknown``, ``GrantMalformed`` or ``GrantRefused`` (all final).
    """
    if envelope.grant is not None:
        return grants.signatory(envelope, envelope.grant, tenant, audience)
    client = tenant.clients.get(envelope.client)
    if client is None:
        raise ClientUnknown(f"the tenant `{tenant.name}` has no client `{envelope.client[:64]}`")
    return ClientSignatory(client)
