"""Authorisation of an envelope, by the caller's configuration.

The lane calls it for every slice (``LivePolicy.authorise``), by its own reading of the files, and its answer counts. The worker
calls it for some jobs before their intent (``Router._authenticate``), so that a stranger neither fills the log nor learns more.

Pure: no clock, no I/O. The order matters: nothing else is checked until the signature of a client, or of a grant's holder, has verified, so that a
stranger learns nothing about keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import (
    AlgorithmMismatch,
    ClientUnknown,
    EnvelopeAudience,
    EnvelopeExpired,
    EnvelopeMalformed,
    EnvelopeSignature,
    GrantMalformed,
    GrantRefused,
    JobExpired,
    KeyUnknown,
    PolicyDenied,
    SigningError,
)
from queueing.errors.durations import in_words
from queueing.protocol.algorithms import Algorithm, algorithm_named
from workers.config.stop_rules import NO_STOPS, Stops
from workers.lanes.signatories import VerifiedGrants, signatory_of

if TYPE_CHECKING:
    from queueing.protocol.envelope import Envelope, UnverifiedEnvelope
    from queueing.protocol.grants.grant import Grant
    from workers.config.tenants import KeyVersion, Tenant

CLOCK_SKEW_MS: Final = 60_000
"""A client's clock may be ahead or behind by so much."""

MOST_EARLY_S: Final = 86_400.0
"""Longest ``retry_after_s`` of an envelope of the future: by then an operator has corrected the clocks. It also tells clients that
only its date was refused."""

_BY_THIS_CLOCK: Final = "by the clock of the worker's host"
"""Clients read these messages, and compare their own clock with Redis': so they can say which one is wrong."""


_UNAUTHENTICATED: Final = (
    ClientUnknown,
    EnvelopeAudience,
    EnvelopeMalformed,
    EnvelopeSignature,
    GrantMalformed,
    GrantRefused,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorised:
    """Authorised digests, with the key version and algorithm to sign them with, and the grant under which they are, or None.

    ``expires_at_ms``: end of the envelope or of its grant, whichever is earlier (Unix ms); 0 where there is neither.
    """

    digests: tuple[bytes, ...]
    key_version: KeyVersion
    algorithm: Algorithm
    grant: Grant | None = None
    expires_at_ms: int = 0


def is_unauthenticated(error: SigningError | None) -> bool:
    """Whether the error is raised before the signature of a client, or of a grant's holder, has verified."""
    return isinstance(error, _UNAUTHENTICATED)


def authorise(  # noqa: PLR0913 - what the verdict depends on, each by name
    unverified: UnverifiedEnvelope,
    tenant: Tenant,
    *,
    audience: str,
    now_ms: int,
    stops: Stops = NO_STOPS,
    verified_before: bool = False,
    grants: VerifiedGrants | None = None,
) -> Authorised:
    """Verify the envelope and resolve its key. Raises a ``SigningError``; all are final but ``JobExpired``.

    Costs one signature verification (Ed25519 or P-256, about 60 us), whatever the number of digests;
    ``verified_before`` spares it for bytes that this process has verified, and nothing else. A grant that is not among
    ``grants`` costs another one.
    """
    envelope = unverified.envelope
    if envelope.audience != audience:
        raise EnvelopeAudience("the envelope was made for another cluster")
    if envelope.tenant != tenant.name:
        raise EnvelopeAudience("the envelope was made for another tenant")
    signatory = signatory_of(envelope, tenant, audience, VerifiedGrants() if grants is None else grants)
    if not verified_before:
        signatory.public_key.verify_envelope(unverified.signed_bytes, unverified.signature)
    if tenant.suspended:
        raise PolicyDenied("rule `state`: the tenant is suspended")
    stops.check_tenant()
    signatory.check_standing(stops)
    _check_dates(envelope, tenant, now_ms)
    # After the dates: by a clock that is years ahead the envelope has expired, and its client may send it again.
    signatory.check_time(now_ms)
    algorithm = algorithm_named(envelope.algorithm)
    key = tenant.keys.get(envelope.key)
    if key is None:
        raise KeyUnknown
    stops.check_key(key.name)
    signatory.check_key(key, algorithm, now_ms)
    version = key.version_to_sign(envelope.key_version, now_ms)
    stops.check_version(key.name, version.version)
    if algorithm not in key.algorithms:
        raise AlgorithmMismatch(f"the key does not sign with {algorithm}")
    grant = signatory.grant
    return Authorised(
        digests=envelope.digests,
        key_version=version,
        algorithm=algorithm,
        grant=grant,
        expires_at_ms=min(envelope.expires_at_ms, grant.expires_ms) if grant else envelope.expires_at_ms,
    )


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
