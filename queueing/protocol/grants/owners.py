"""Owner of an envelope: the same for all envelopes of one identity, whatever its grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import SigningError
from queueing.protocol.grants.grant import read_grant

if TYPE_CHECKING:
    from queueing.protocol.envelope import Envelope
    from queueing.protocol.grants.grant import Grant


def owner_of(envelope: Envelope) -> str:
    """Owner of an unverified envelope: its client, or issuer and subject of its grant, which outlive the grant."""
    if envelope.grant is None:
        return envelope.client
    grant = grant_of(envelope)
    return "" if grant is None else owner_under(grant.issuer, grant.subject)


def grant_of(envelope: Envelope) -> Grant | None:
    """Unverified grant of an unverified envelope; None where there is none, or none that can be read."""
    if envelope.grant is None:
        return None
    try:
        return read_grant(envelope.grant).grant
    except SigningError:
        return None


def owner_under(issuer: str, subject: str) -> str:
    """Owner of envelopes under grants for a subject. No client's name: those have no slash."""
    return f"{issuer}/{subject}"
