"""Epochs of tenants as their published key directories say them: whether this worker has an older file than another host.

A directory counts only with the signature of the service key, whose lane reads the tenant's file itself: who controls Redis can
withhold a newer epoch, and cannot invent one. Epochs only grow, so that an old directory that is put back says nothing false.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from queueing.coordination.key_directories import published_directories
from queueing.errors import SigningError
from queueing.protocol.key_directory import open_directory
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from workers.config.service_file import ServiceConfiguration
    from workers.current_config import CurrentConfig

log = logging.getLogger("sigmill.config")


class PublishedEpochs:
    """Newest epochs that this worker has seen, by tenant. To be used on one event loop; ``behind`` may be read by any thread."""

    def __init__(self, redis: Redis, config: CurrentConfig) -> None:
        self._redis = redis
        self._config = config
        self._read: dict[str, tuple[bytes, int | None]] = {}
        self._newest: dict[str, int] = {}

    @property
    def behind(self) -> int:
        """Number of tenants of which a newer file than this worker's is known to be in force on another host."""
        tenants = self._config.tenants
        return sum(
            name in tenants and epoch > tenants[name].epoch for name, epoch in list(self._newest.items())
        )

    async def published(self, tenants: Sequence[str]) -> dict[str, int]:
        """Epochs of the directories in Redis now, of those that hold. One round trip, and one verification of each new directory.

        Raises ``QueueUnavailable`` (retryable).
        """
        found: dict[str, int] = {}
        for tenant, signed in (await published_directories(self._redis, tenants)).items():
            epoch = self._epoch_of(tenant, signed)
            if epoch is not None:
                found[tenant] = epoch
                self._see(tenant, epoch)
        return found

    async def newer(self, tenants: Sequence[str]) -> dict[str, int]:
        """Newer epochs, by tenant: those of these tenants of which another host has a newer file.

        One round trip, and one verification of each new directory. Raises ``QueueUnavailable`` (retryable).
        """
        await self.published(tenants)
        return self.known(tenants)

    def known(self, tenants: Sequence[str]) -> dict[str, int]:
        """Newer epochs that were seen before, by tenant."""
        return {tenant: self._newest[tenant] for tenant in tenants if self._is_behind(tenant)}

    def in_force(self, tenant: str) -> int:
        """Epoch of the tenant's file here; 0 where there is none."""
        known = self._config.tenants.get(tenant)
        return 0 if known is None else known.epoch

    def _is_behind(self, tenant: str) -> bool:
        known = self._config.tenants.get(tenant)
        return known is not None and self._newest.get(tenant, 0) > known.epoch

    def _see(self, tenant: str, epoch: int) -> None:
        if epoch <= self._newest.get(tenant, -1):
            return
        self._newest[tenant] = epoch
        if self._is_behind(tenant):
            own = self._config.tenants[tenant].epoch
            log.warning("config.behind", extra={"tenant": tenant, "epoch": own, "published": epoch})

    def _epoch_of(self, tenant: str, signed: bytes) -> int | None:
        """Epoch of a directory, which is verified when it is seen for the first time."""
        service = self._config.service
        fingerprint = hashlib.sha256(service.service_key.public_key.sha256 + signed).digest()
        known = self._read.get(tenant)
        if known is not None and known[0] == fingerprint:
            return known[1]
        epoch = epoch_of(signed, service, tenant)
        self._read[tenant] = fingerprint, epoch
        return epoch


def epoch_of(signed: bytes, service: ServiceConfiguration, tenant: str) -> int | None:
    """Epoch of a directory; None where the service key has not signed it, or not for this tenant, or it has expired."""
    try:
        return open_directory(
            signed,
            audience=service.audience,
            tenant=tenant,
            pinned=(service.service_key.public_key,),
            newest_epoch=0,
            now_ms=unix_ms(),
        ).epoch
    except SigningError:
        return None
