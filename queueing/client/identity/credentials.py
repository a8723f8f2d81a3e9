"""Credentials: the key and the name by which an envelope is signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        """A credential for an envelope of so many digests. Raises a ``SigningError`` where there is none by the deadline."""

    def refused(self, grant: bytes | None) -> bool:
        """The service says that this grant is used up or over; whether another one may be had."""

    async def run(self) -> None:
        """Renew in the background, until cancelled."""


class StaticIdentity:
    """Client with a key of its own."""

    def __init__(self, client: str, signer: EnvelopeSigner) -> None:
        self.held = Credential(client=client, signer=signer, owner=client)
        """The one credential."""

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        """Always the same."""
        del digests, deadline_s
        return self.held

    def refused(self, grant: bytes | None) -> bool:
        """False: there is no other."""
        del grant
        return False

    async def run(self) -> None:
        """Return at once."""
