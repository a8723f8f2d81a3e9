"""Authorisation of an envelope, by the caller's configuration.

The lane calls it for every slice (``LivePolicy.authorise``), by its own reading of the files, and its answer counts. The worker
calls it for some jobs before their intent (``Router._authenticate``), so that a stranger neither fills the log nor learns more.

Pure: no clock, no I/O. The order matters: nothing else is checked until the client's signature has verified, so that a
stranger learns nothing about keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import (
    AlgorithmMismatch,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    EnvelopeAudience,
    EnvelopeExpired,
    JobExpired,
    KeyUnknown,
    PolicyDenied,
)
from queueing.protocol.algorithms import Algorithm, algorithm_named
from queueing.protocol.durations import in_words
from workers.config.stop_rules import NO_STOPS, Stops

if TYPE_CHECKING:
    from queueing.protocol.envelope import Envelope, UnverifiedEnvelope
    from workers.config.tenants import KeyVersion, Tenant, TenantClient

CLOCK_SKEW_MS: Final = 60_000
"""A client's clock may be ahead or behind by so much."""

MOST_EARLY_S: Final = 86_400.0
"""Longest ``retry_after_s`` of an envelope of the future: by then an operator has corrected the clocks. It also tells clients that
only its date was refused."""

_BY_THIS_CLOCK: Final = "by the clock of the worker's host"
"""Clients read these messages, and compare their own clock with Redis': so they can say which one is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorised:
    """Authorised digests, with the key version and algorithm to sign them with."""

    digests: tuple[bytes, ...]
    key_version: KeyVersion
    algorithm: Algorithm


def authorise(
    unverified: UnverifiedEnvelope,
    tenant: Tenant,
    *,
    audience: str,
    now_ms: int,
    stops: Stops = NO_STOPS,
    verified_before: bool = False,
) -> Authorised:
    """Verify the envelope and resolve its key. Raises a ``SigningError``; all are final but ``JobExpired``.

    Costs one signature verification (Ed25519 or P-256, about 150 us), whatever the number of digests;
    ``verified_before`` spares it for bytes that this process has verified, and nothing else.
    """
    envelope = unverified.envelope
    if envelope.audience != audience:
        raise EnvelopeAudience("the envelope was made for another cluster")
    if envelope.tenant != tenant.name:
        raise EnvelopeAudience("the envelope was made for another tenant")
    client = _client(tenant, envelope.client)
    if not verified_before:
        client.public_key.verify_envelope(unverified.signed_bytes, unverified.signature)
    _check_standing(tenant, client, stops)
    _check_dates(envelope, tenant, now_ms)
    # After the dates: by a clock that is years ahead the envelope has expired, and its client may send it again.
    if client.expires_at_ms <= now_ms:
        raise ClientExpired
    algorithm = algorithm_named(envelope.algorithm)
    key = tenant.keys.get(envelope.key)
    if key is None:
        raise KeyUnknown
    stops.check_key(key.name)
    key.policy.check(envelope.client, now_ms)
    version = key.version_to_sign(envelope.key_version, now_ms)
    stops.check_version(key.name, version.version)
    if algorithm not in key.algorithms:
        raise AlgorithmMismatch(f"the key does not sign with {algorithm}")
    return Authorised(digests=envelope.digests, key_version=version, algorithm=algorithm)


def _client(tenant: Tenant, name: str) -> TenantClient:
    client = tenant.clients.get(name)
    if client is None:
        raise ClientUnknown(f"the tenant `{tenant.name}` has no client `{name[:64]}`")
    return client


def _check_standing(tenant: Tenant, client: TenantClient, stops: Stops) -> None:
    if tenant.suspended:
        raise PolicyDenied("rule `state`: the tenant is suspended")
    stops.check_tenant()
    stops.check_client(client.name)
    if client.revoked:
        raise ClientRevoked


def _check_dates(envelope: Envelope, tenant: Tenant, now_ms: int) -> None:
    if envelope.issued_at_ms > now_ms + CLOCK_SKEW_MS:
        early_s = (envelope.issued_at_ms - now_ms) / 1000
        raise EnvelopeExpired(
            f"the envelope was issued {in_words(early_s)} in the future, {_BY_THIS_CLOCK}",
            retry_after_s=min(early_s, MOST_EARLY_S),
        )
    valid_ms = envelope.expires_at_ms - envelope.issued_at_ms
    if valid_ms <= 0:
        raise EnvelopeExpired("the envelope expires before it is issued")
    if valid_ms > tenant.max_envelope_age_ms:
        raise EnvelopeExpired(
            f"the envelope is valid for {valid_ms // 1000} s, the tenant allows {tenant.max_envelope_age_ms // 1000}"
        )
    if envelope.expires_at_ms + CLOCK_SKEW_MS <= now_ms:
        late_s = (now_ms - envelope.expires_at_ms) / 1000
        raise JobExpired(f"the envelope expired {in_words(late_s)} ago, {_BY_THIS_CLOCK}")
