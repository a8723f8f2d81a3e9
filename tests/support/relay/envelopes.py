"""Sealed envelopes of a farm's client, as it gives them to a relay."""

from __future__ import annotations

from queueing.client.delivery.relay_messages import SubmittedEnvelope
from queueing.client.identity.credentials import StaticIdentity
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.priorities import Priority
from queueing.unix_time import unix_ms
from tests.support.farm.farm import Farm, digests


def envelope(
    farm: Farm, number: int, *, tenant: str = "acme", audience: str | None = None
) -> SubmittedEnvelope:
    """Envelope of 64 digests, which are others for each number; for this service unless an ``audience`` is given."""
    identity = StaticIdentity("ci", farm.key)
    builder = EnvelopeBuilder(
        audience=farm.config.audience if audience is None else audience,
        tenant=tenant,
        identity=identity,
        ttl_ms=60_000,
        reply_id="",
        now_ms=unix_ms,
    )
    target = Target("release", 0, Algorithm.ECDSA_SHA_256)
    request = SigningRequest.of(target, digests(64, salt=str(number)), f"run-{number}")
    return SubmittedEnvelope(builder.seal_with(identity.held, request).sealed, Priority.NORMAL, receipt=False)
