"""Credentials: the key and the name by which an envelope is signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from queueing.protocol.envelope import MAX_DIGESTS

if TYPE_CHECKING:
    from queueing.errors import SigningError
    from queueing.protocol.envelope import EnvelopeSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Key and name for an envelope. ``expires_ms``: end of the grant (Unix ms), None without one.

    ``owner``: the same for all envelopes of one identity, whatever its grants.
    """

    client: str
    signer: EnvelopeSigner
    owner: str
    grant: bytes | None = None
    expires_ms: int | None = None


class ClientIdentity(Protocol):
    """Identity of a client."""

    @property
    def largest_envelope(self) -> int:
        """Digests of one envelope at most, as far as is known before ``ready``."""

    async def ready(self, deadline_s: float | None) -> None:
        """Wait for the first credential. Raises a ``SigningError`` where there is none by the deadline."""

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        """A credential for an envelope of so many digests. Raises a ``SigningError`` where there is none by the deadline."""

    def trouble(self) -> SigningError | None:
        """Reason for which there is no credential now; None where there is one, or none was asked for."""

    def refused(self, grant: bytes | None, error: SigningError) -> bool:
        """The service refuses an envelope under this grant; whether one under another may be accepted."""

    async def run(self) -> None:
        """Renew in the background, until cancelled."""


class StaticIdentity:
    """Client with a key of its own."""

    def __init__(self, client: str, signer: EnvelopeSigner) -> None:
        self.held = Credential(client=client, signer=signer, owner=client)
        """The one credential."""

    @property
    def largest_envelope(self) -> int:
        """Largest envelope of the protocol, in digests."""
        return MAX_DIGESTS

    async def ready(self, deadline_s: float | None) -> None:
        """Return at once: a key of the client's own needs no preparation."""
        del deadline_s

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        """The client's own key and name."""
        del digests, deadline_s
        return self.held

    def trouble(self) -> SigningError | None:
        """No trouble: a key of the client's own is always there."""
        return None

    def refused(self, grant: bytes | None, error: SigningError) -> bool:
        """False: there is no other."""
        del grant, error
        return False

    async def run(self) -> None:
        """Return at once."""
