"""Grants in use: obtained for a token of the platform, and renewed before they end or are used up."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.serialization import load_der_public_key

from queueing.aio.backoff import Backoff, wait_after
from queueing.client.identity.credentials import Credential
from queueing.errors import (
    GrantExhausted,
    IdentityUnavailable,
    ResultInvalid,
    SigningError,
)
from queueing.protocol.grants.grant import read_grant
from queueing.protocol.grants.grant_request import make_request
from queueing.protocol.grants.owners import owner_under

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.client.identity.token_sources import TokenSource
    from queueing.protocol.client_keys import ClientKey
    from queueing.protocol.grants.grant import Grant
    from queueing.protocol.grants.grant_request import GrantIssued, GrantRequest

_log = logging.getLogger("sigmill.client")

LEFT_MS: Final = 5_000
"""A grant with less time left serves for no new envelope."""

RENEWED_PART: Final = 3
"""A grant is renewed in the background in the last third of its life, or of its digests."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
"""Pauses between attempts at a grant."""


class Issuer(Protocol):
    """Issuer of grants, such as ``IssuerClient``."""

    async def request(self, request: GrantRequest) -> GrantIssued:
        """The grant; raises a ``SigningError``."""


@dataclass(slots=True)
class _InUse:
    """A grant with the number of digests for which envelopes were sealed."""

    grant: Grant
    credential: Credential
    used: int = 0
    over: bool = False

    def covers(self, digests: int, now_ms: int) -> bool:
        return (
            not self.over
            and self.used + digests <= self.grant.max_digests
            and now_ms < self.grant.expires_ms - LEFT_MS
        )

    def ends_soon(self, now_ms: int) -> bool:
        life_ms = self.grant.expires_ms - self.grant.not_before_ms
        return (
            self.grant.expires_ms - now_ms < life_ms // RENEWED_PART
            or self.grant.max_digests - self.used < self.grant.max_digests // RENEWED_PART
        )


class GrantedIdentity:
    """Identity by grants. ``key``: the ephemeral key, the same for all grants, since a token is bound to the first key."""

    def __init__(  # noqa: PLR0913 - what a request for a grant is made of, each by name
        self,
        *,
        source: TokenSource,
        issuer: Issuer,
        key: ClientKey,
        audience: str,
        tenant: str,
        keys: tuple[str, ...],
        now_ms: Callable[[], int],
    ) -> None:
        self._source = source
        self._issuer = issuer
        self._key = key
        self._public = load_der_public_key(key.public_spki).public_bytes_raw()  # type: ignore[union-attr] # Ed25519
        self._audience = audience
        self._tenant = tenant
        self._keys = keys
        self._now_ms = now_ms
        self._current: _InUse | None = None
        self._renewal_wanted = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._last_error: SigningError | None = None

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        """The grant in use, or another where it does not cover ``digests`` any more. Costs nothing else while it does.

        Raises ``IdentityRefused`` and others that are final at once; ``IdentityUnavailable`` and ``IssuerUnavailable`` at the
        deadline (time of the event loop).
        """
        current = self._current
        if current is None or not current.covers(digests, self._now_ms()):
            current = await self._another(digests, deadline_s)
        elif current.ends_soon(self._now_ms()):
            self._renewal_wanted.set()
        current.used += digests
        return current.credential

    def refused(self, grant: bytes | None) -> bool:
        """A lane or a worker refuses the grant: it serves no more. True: another one may be had."""
        current = self._current
        if current is not None and current.credential.grant == grant:
            current.over = True
        return True

    async def run(self) -> None:
        """Renew the grant in the background until cancelled; an error is logged, and tried again while the grant lasts."""
        while True:
            await self._renewal_wanted.wait()
            self._renewal_wanted.clear()
            pauses = Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
            done = await self._renewed()
            while not done:
                await asyncio.sleep(pauses.next_s())
                done = await self._renewed()

    async def _renewed(self) -> bool:
        """Whether there is a grant that does not end soon, or none to be had until a caller asks for it."""
        async with self._one_at_a_time:
            current, now_ms = self._current, self._now_ms()
            if current is None or not current.covers(0, now_ms) or not current.ends_soon(now_ms):
                return True
            try:
                self._current = await self._obtained()
            except SigningError as error:
                _log.warning("the grant is not renewed yet: %s", error)
                return not error.retryable
            return True

    async def _another(self, digests: int, deadline_s: float | None) -> _InUse:
        pauses = Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
        async with self._one_at_a_time:
            current = self._current
            while current is None or not current.covers(digests, self._now_ms()):
                try:
                    async with asyncio.timeout_at(deadline_s):
                        current = self._current = await self._obtained_or_waited(pauses)
                except TimeoutError:
                    raise self._last_error or IdentityUnavailable(
                        "the deadline passed before there was a grant"
                    ) from None
                if current is not None and digests > current.grant.max_digests:
                    raise GrantExhausted(
                        f"an envelope of {digests} digests is more than the grant's {current.grant.max_digests}"
                    )
            return current

    async def _obtained_or_waited(self, pauses: Backoff) -> _InUse | None:
        """A grant; None after a pause where there is none now."""
        try:
            return await self._obtained()
        except SigningError as error:
            if not error.retryable:
                raise
            self._last_error = error
            await asyncio.sleep(pauses.next_s() if error.retry_after_s is None else wait_after(error))
            return None

    async def _obtained(self) -> _InUse:
        token = await self._source.token()
        request = make_request(
            token=token,
            public_key=self._public,
            signer=self._key,
            audience=self._audience,
            tenant=self._tenant,
            keys=self._keys,
        )
        issued = await self._issuer.request(request)
        grant = read_grant(issued.grant).grant
        if (grant.audience, grant.tenant, grant.client_public_key) != (
            self._audience,
            self._tenant,
            self._public,
        ):
            raise ResultInvalid("the issuer's grant is for another cluster, tenant or key")
        if self._now_ms() >= grant.expires_ms - LEFT_MS:
            raise ResultInvalid(
                "the issuer's grant has ended by the clock of this host: compare it with the issuer's"
            )
        credential = Credential(
            client=grant.client,
            signer=self._key,
            owner=owner_under(grant.issuer, grant.subject),
            grant=issued.grant,
            expires_ms=grant.expires_ms,
        )
        return _InUse(grant, credential)
