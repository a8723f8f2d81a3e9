"""Owner of an envelope: the same for all envelopes of one identity, whatever its grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queueing.errors import SigningError
from queueing.protocol.grants.grant import read_grant

if TYPE_CHECKING:
    from queueing.protocol.envelope import Envelope


def owner_of(envelope: Envelope) -> str:
    """Owner of an unverified envelope: its client, or issuer and subject of its grant, which outlive the grant."""
    if envelope.grant is None:
        return envelope.client
    try:
        grant = read_grant(envelope.grant).grant
    except SigningError:
        return ""
    return owner_under(grant.issuer, grant.subject)


def owner_under(issuer: str, subject: str) -> str:
    """Owner of envelopes under grants for a subject. No client's name: those have no slash."""
    return f"{issuer}/{subject}"
