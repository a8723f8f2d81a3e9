"""Cache of the tenant's key directory: fetched when needed, verified, and never replaced by an older one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.aio.events import wait_for
from queueing.aio.single_flight import SingleFlight
from queueing.client.epoch_store import EpochStore
from queueing.config.toml import nearest
from queueing.errors import ConfigError, KeyUnknown, QueueUnavailable, ResultInvalid, SigningError
from queueing.protocol.key_directory import KeyDirectory, KeyEntry, open_directory
from queueing.protocol.public_keys import PublicKey

if TYPE_CHECKING:
    from queueing.client.delivery.queue_access import QueueAccess
    from queueing.client.service_clock import ServiceClock

_log = logging.getLogger("sigmill.client")

PATIENCE_S: Final = 30.0
"""Time for which a failed fetch is retried where the caller sets no deadline."""

REFETCH_S: Final = 1.0
"""A name or version that is not in the directory causes at most one fetch in this time."""

_DIAGNOSED_TRY: Final = 3
"""Failed fetches in a row after which a wrong host name and TLS on one side only are told from an outage."""

RETRY_S: Final = 5.0
"""After a refresh that failed the cached directory stays in use for so long, then the next call tries again."""

_TRUSTED_STATES: Final = ("active", "verify-only")


class KeyDirectoryCache:
    """One directory at a time; concurrent needs share one fetch.

    A directory older than ``refresh_s`` is fetched again before anything in it is believed: a version that was revoked
    is refused from then on. Where none is to be had, the cached one stays in use until it expires, never longer. After
    ``close()`` what would be fetched is ``QueueUnavailable``.
    """

    def __init__(  # noqa: PLR0913 - what a directory must fit, each by name
        self,
        access: QueueAccess,
        *,
        audience: str,
        tenant: str,
        pinned: Sequence[PublicKey],
        epochs: EpochStore,
        refresh_s: float,
        clock: ServiceClock,
    ) -> None:
        self._access = access
        self._audience = audience
        self._tenant = tenant
        self._pinned = pinned
        self._epochs = epochs
        self._refresh_ms = refresh_s * 1000
        self._clock = clock
        self._directory: KeyDirectory | None = None
        self._fetched_ms = 0
        self._failed_ms: int | None = None
        self._keys: dict[tuple[str, int], PublicKey] = {}
        self._flight: SingleFlight[KeyDirectory] = SingleFlight()
        self._single: SingleFlight[KeyDirectory] = SingleFlight()
        self._closed = asyncio.Event()

    async def prefetch(self) -> None:
        """Fetch once, for the calls to come; the clock of Redis comes with it. An error is left to the call that needs it."""
        with contextlib.suppress(SigningError, ConfigError):
            await self._single.run(self._fetch)

    async def close(self) -> None:
        """Fetch no more; returns when no fetch is under way, so that the access can be closed."""
        self._closed.set()
        await self._flight.ended()
        await self._single.ended()

    async def directory(self) -> KeyDirectory:
        """The directory, fetched where there is none, or one older than the refresh time.

        Raises ``ResultInvalid`` (final) for a false one, ``EnvelopeExpired`` (final) for one that has expired by this host's
        clock, which is ahead, and ``QueueUnavailable`` where none is to be had.
        """
        directory, now_ms = self._directory, self._clock.now_ms()
        if directory is None or directory.expires_at_ms <= now_ms:
            return await self._flight.run(self._fetch_patiently)
        if self._is_stale(now_ms):
            return await self._renewed(directory)
        return directory

    def cached_entry(self, key: str) -> KeyEntry | None:
        """The key's entry, where a directory that needs no fetch has it."""
        directory, now_ms = self._directory, self._clock.now_ms()
        if directory is None or directory.expires_at_ms <= now_ms or self._is_stale(now_ms):
            return None
        return directory.keys.get(key)

    async def entry(self, key: str) -> KeyEntry:
        """The key's entry; raises ``KeyUnknown`` (final) after a look at a fresh directory, or as above."""
        entry = (await self.directory()).keys.get(key)
        if entry is None:
            entry = (await self._refreshed()).keys.get(key)
        if entry is None:
            raise KeyUnknown(
                f"the tenant has no key `{key}`", hint=nearest(key, (await self.directory()).keys)
            )
        return entry

    async def public_key(self, key: str, version: int, fingerprint: bytes) -> PublicKey:
        """The key that this version is pinned to, if it may have signed.

        Raises ``ResultInvalid`` (final) where the refreshed directory has no such version, another key,
        or one that is retired or revoked; otherwise as ``directory()``.
        """
        await self.directory()
        found = self._keys.get((key, version))
        if found is None or found.sha256 != fingerprint:
            await self._refreshed()
            found = self._keys.get((key, version))
        if found is None or found.sha256 != fingerprint:
            raise ResultInvalid("the result names a key version that the key directory does not vouch for")
        return found

    def _is_stale(self, now_ms: int) -> bool:
        """Whether a refresh is due; also when the clock was set back, since the age is then unknown."""
        if 0 <= now_ms - self._fetched_ms < self._refresh_ms:
            return False
        return self._failed_ms is None or not 0 <= now_ms - self._failed_ms < RETRY_S * 1000

    async def _refreshed(self) -> KeyDirectory:
        """A directory fetched within ``REFETCH_S``."""
        if self._directory is not None and 0 <= self._clock.now_ms() - self._fetched_ms < REFETCH_S * 1000:
            return self._directory
        return await self._flight.run(self._fetch_patiently)

    async def _renewed(self, directory: KeyDirectory) -> KeyDirectory:
        """A refreshed directory, or the cached one where none is to be had."""
        try:
            return await self._single.run(self._fetch)
        except (QueueUnavailable, ConfigError) as error:
            _log.warning("cannot refresh the key directory (%s); the cached one stays in use", error)
            self._failed_ms = self._clock.now_ms()
            return directory

    async def _fetch_patiently(self) -> KeyDirectory:
        backoff, tries = Backoff(), 0
        give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                return await self._single.run(self._fetch)
            except QueueUnavailable as error:
                tries += 1
                if tries == _DIAGNOSED_TRY:
                    await self._access.diagnose(error)
                wait_s = backoff.next_s()
                if self._closed.is_set() or asyncio.get_running_loop().time() + wait_s > give_up_s:
                    raise
                _log.warning("%s; next try in %.1f s", error, wait_s)
                await wait_for(self._closed, wait_s)

    async def _fetch(self) -> KeyDirectory:
        if self._closed.is_set():
            raise QueueUnavailable("the client was closed before the key directory came")
        sent_ms = self._clock.now_ms()
        published = await self._access.directory()
        if published.time_ms is not None:
            self._clock.take(sent_ms, published.time_ms)
        if published.sealed is None:
            raise QueueUnavailable("no key directory is published for this tenant; is a worker running?")
        now_ms = self._clock.now_ms()
        try:
            directory = open_directory(
                published.sealed,
                audience=self._audience,
                tenant=self._tenant,
                pinned=self._pinned,
                newest_epoch=self._epochs.newest,
                now_ms=now_ms,
            )
        except QueueUnavailable as error:  # it has expired
            if self._clock.is_ahead:
                raise self._clock.explained(error) from None
            raise
        if directory.epoch > self._epochs.newest:
            await asyncio.to_thread(self._epochs.remember, directory.epoch)
        self._keys = _trusted_keys(directory)
        self._directory, self._fetched_ms, self._failed_ms = directory, now_ms, None
        return directory


def _trusted_keys(directory: KeyDirectory) -> dict[tuple[str, int], PublicKey]:
    return {
        (name, version.version): PublicKey.from_spki(version.public_key)
        for name, entry in directory.keys.items()
        for version in entry.versions
        if version.state in _TRUSTED_STATES
    }
