"""Grants in use: obtained for a token of the platform, and renewed before they end or are used up."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.serialization import load_der_public_key

from queueing.aio.backoff import Backoff, wait_after
from queueing.aio.single_flight import SingleFlight
from queueing.client.identity.credentials import Credential
from queueing.errors import (
    GrantExhausted,
    GrantExpired,
    IdentityUnavailable,
    JobExpired,
    ResultInvalid,
    SigningError,
)
from queueing.protocol.envelope import MAX_DIGESTS
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
LONGEST_PAUSE_S: Final = 5.0
"""Pauses between attempts at a grant while calls wait for one."""

RENEWAL_PAUSE_S: Final = 30.0
"""Longest pause between attempts in the background, and after one that was refused."""

FRESH_MS: Final = 2_000
"""A grant that is refused so early for another reason than its time or its digests: one more would be refused, too."""


class Issuer(Protocol):
    """Issuer of grants, such as ``IssuerClient``."""

    async def request(self, request: GrantRequest) -> GrantIssued:
        """The grant; raises a ``SigningError``."""


@dataclass(slots=True)
class _InUse:
    """A grant with the number of digests for which envelopes were sealed."""

    grant: Grant
    credential: Credential
    obtained_ms: int
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
        self._flight: SingleFlight[_InUse] = SingleFlight()
        self._trouble: SigningError | None = None

    @property
    def largest_envelope(self) -> int:
        """Digests that the newest grant permits, at most those of the protocol; these before there is one."""
        return MAX_DIGESTS if self._current is None else min(MAX_DIGESTS, self._current.grant.max_digests)

    async def ready(self, deadline_s: float | None) -> None:
        """Obtain the first grant; raises as ``credential``."""
        if self._current is None:
            await self._covering(0, deadline_s)

    async def credential(self, digests: int, deadline_s: float | None) -> Credential:
        """The grant in use, or another where it does not cover ``digests`` any more. Costs nothing else while it does.

        Raises ``IdentityRefused`` and others that are final at once, ``GrantExhausted`` where no grant covers so many;
        ``IdentityUnavailable`` and ``IssuerUnavailable`` at the deadline (time of the event loop).
        """
        current = self._current
        if current is None or not current.covers(digests, self._now_ms()):
            current = await self._covering(digests, deadline_s)
        elif current.ends_soon(self._now_ms()):
            self._renewal_wanted.set()
        current.used += digests
        return current.credential

    def trouble(self) -> SigningError | None:
        """Failure of the last attempt at a grant; None after a success."""
        return self._trouble

    def refused(self, grant: bytes | None, error: SigningError) -> bool:
        """A lane or a worker refuses the grant: it serves no more, and another one may be accepted.

        False for a new grant whose time and digests are not the reason: the files of the service are.
        """
        current = self._current
        if current is None or current.over or current.credential.grant != grant:
            return True
        of_its_own = isinstance(error, GrantExhausted | GrantExpired | JobExpired)
        if not of_its_own and self._now_ms() < current.obtained_ms + FRESH_MS:
            return False
        current.over = True
        return True

    async def run(self) -> None:
        """Renew the grant in the background until cancelled; an error is logged, and tried again while the grant lasts."""
        while True:
            await self._renewal_wanted.wait()
            pauses = Backoff(first_s=FIRST_PAUSE_S, most_s=RENEWAL_PAUSE_S)
            while self._is_to_be_renewed():
                try:
                    await self._flight.run(self._obtained)
                except SigningError as error:
                    _log.warning("the grant is not renewed yet: %s", error)
                    await asyncio.sleep(pauses.next_s() if error.retryable else RENEWAL_PAUSE_S)
            self._renewal_wanted.clear()

    def _is_to_be_renewed(self) -> bool:
        """Whether the grant ends soon; not where it has ended: the next call asks for another."""
        current, now_ms = self._current, self._now_ms()
        return current is not None and current.covers(0, now_ms) and current.ends_soon(now_ms)

    async def _covering(self, digests: int, deadline_s: float | None) -> _InUse:
        """A grant with so many digests left. Each attempt at one is shared by all calls that wait."""
        try:
            async with asyncio.timeout_at(deadline_s):
                while (current := self._current) is None or not current.covers(digests, self._now_ms()):
                    try:
                        obtained = await self._flight.run(self._obtained_at_last)
                    except SigningError as error:
                        if not error.retryable:
                            raise
                        continue  # of the renewal in the background, which does not wait
                    if digests > obtained.grant.max_digests:
                        raise GrantExhausted(
                            f"an envelope of {digests} digests is more than the grant's {obtained.grant.max_digests}"
                        )
                return current
        except TimeoutError:
            raise self._trouble or IdentityUnavailable(
                "the deadline passed before there was a grant"
            ) from None

    async def _obtained_at_last(self) -> _InUse:
        """A new grant, asked for until there is one. Raises what is final."""
        pauses = Backoff(first_s=FIRST_PAUSE_S, most_s=LONGEST_PAUSE_S)
        while True:
            try:
                return await self._obtained()
            except SigningError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(pauses.next_s() if error.retry_after_s is None else wait_after(error))

    async def _obtained(self) -> _InUse:
        """A new grant, from now on the one in use."""
        try:
            self._current = obtained = await self._requested()
        except SigningError as error:
            self._trouble = error
            raise
        self._trouble = None
        return obtained

    async def _requested(self) -> _InUse:
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
        return _InUse(grant, credential, self._now_ms())
