"""Publishes key directories: signed by the service's lane, stored in Redis, restored when Redis loses them; never in place of a newer one."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.aio.events import wait_for
from queueing.coordination.key_directories import directories_missing, publish_directory
from queueing.errors import SigningError, TokenUnavailable
from queueing.protocol import keyspace
from queueing.protocol.key_directory import directory_head
from queueing.unix_time import unix_ms
from workers.journal.event_records import DirectoryRecord
from workers.lanes.protocol import SignDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio import Redis

    from queueing.protocol.key_directory import DirectoryHead
    from workers.current_config import CurrentConfig
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.published_epochs import PublishedEpochs
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

RENEWALS: Final = 4
"""Publications within the time to live of a directory: some may fail before it expires."""

CHECK_S: Final = 2.0
"""Time between two checks whether Redis still has some of the directories: without its directory no client can start."""

WITHHELD_S: Final = 60.0
"""Time until a directory that was withheld is tried again: this host may have its file by then, or the newer directory may be gone."""

CHECKED_AT_ONCE: Final = 500
"""Directories per check, in one round trip: 5,000 tenants are checked in 20 s."""


class DirectoryPublisher:
    """Publishes the directory of every tenant, once the log has its hash; failures are retried after ``CHECK_S`` seconds."""

    def __init__(
        self,
        redis: Redis,
        config: CurrentConfig,
        *,
        lanes: LaneRegistry,
        wal: WriteAheadLog,
        epochs: PublishedEpochs,
        metrics: Metrics,
    ) -> None:
        self._redis = redis
        self._epochs = epochs
        self._wal = wal
        self._config = config
        self._lanes = lanes
        self._metrics = metrics
        self._numbers = itertools.count(1)
        self._published_ttl_s = self._ttl_s
        self._due: dict[str, float] = {}
        self._first: set[str] = set()
        self._checked = 0
        self._wake = asyncio.Event()

    @property
    def _ttl_s(self) -> float:
        """Time to live as configured now: lanes bound directories by it as soon as they have read the file again."""
        return self._config.service.worker.directory_ttl_s

    def configuration_changed(self, changed: Sequence[str]) -> None:
        """Publish the directories of new and changed tenants now; all of them where their time to live is another one."""
        if self._ttl_s != self._published_ttl_s:
            self._published_ttl_s = self._ttl_s
            self._due.clear()
        self._publish_first(changed)

    def _publish_first(self, tenants: Iterable[str]) -> None:
        self._first.update(tenants)
        self._wake.set()

    async def run(self) -> None:
        """Publish until cancelled: at the start, ``RENEWALS`` times per time to live, after a reload, and after a loss."""
        while True:
            self._wake.clear()
            while self._first:
                await self._publish(self._first.pop())
            now = time.monotonic()
            for tenant in [t for t in self._config.tenants if now >= self._due.get(t, 0.0)]:
                await self._publish(tenant)
                if self._first:
                    break
            else:
                await self._check_some()
                await wait_for(self._wake, CHECK_S)

    async def _check_some(self) -> None:
        """Check the next ``CHECKED_AT_ONCE`` tenants; publish at once those that Redis lost and that are not due soon."""
        tenants = sorted(self._config.tenants)
        part = tenants[self._checked : self._checked + CHECKED_AT_ONCE]
        self._checked += CHECKED_AT_ONCE
        if self._checked >= len(tenants):
            self._checked = 0
        try:
            missing = await directories_missing(self._redis, part)
        except SigningError as error:
            self._failed(part[0], error)
            return
        soon = time.monotonic() + CHECK_S
        lost = [tenant for tenant in missing if self._due.get(tenant, 0.0) > soon]
        if lost:
            self._publish_first(lost)

    async def _publish(self, tenant: str) -> None:
        pool = self._lanes.service_lanes
        if pool is None or tenant not in self._config.tenants:
            self._due.pop(tenant, None)
            return
        now_ms, ttl_ms = unix_ms(), int(self._ttl_s * 1000)
        self._due[tenant] = time.monotonic() + CHECK_S
        try:
            answer = await pool.requests.sign_directory(
                SignDirectory(next(self._numbers), tenant, now_ms, now_ms + ttl_ms)
            )
            if answer.error is not None:
                raise answer.error.error()
            # A host-started lane may have read an older file: it bounds a directory's life by its own `directory_ttl_s`.
            head = directory_head(answer.signed)
            ttl_ms = min(ttl_ms, head.expires_at_ms - now_ms)
            if ttl_ms <= 0:
                raise TokenUnavailable(
                    "the service's lane signed a directory that has expired; are the clocks right?"
                )
            if await self._is_older(tenant, head):
                self._withhold(tenant)
                return
            await self._wal.append([self._record(tenant, answer.signed, head)])
            if await self._is_older(tenant, head):  # the disk may have taken seconds
                self._withhold(tenant)
                return
            await publish_directory(self._redis, keyspace.directory(tenant), answer.signed, ttl_ms)
        except SigningError as error:
            self._failed(tenant, error)
            return
        self._due[tenant] = time.monotonic() + self._lasts_s(tenant, now_ms, ttl_ms)
        self._metrics.directories.labels("published").inc()

    async def _is_older(self, tenant: str, head: DirectoryHead) -> bool:
        """Whether the published directory is of a newer epoch than the one that was just signed here."""
        return (await self._epochs.published([tenant])).get(tenant, -1) > head.epoch

    def _withhold(self, tenant: str) -> None:
        """Leave the newer directory of another host in place: clients that have seen it would refuse this host's older one."""
        self._due[tenant] = time.monotonic() + WITHHELD_S
        self._metrics.directories.labels("withheld").inc()

    def _record(self, tenant: str, signed: bytes, head: DirectoryHead) -> DirectoryRecord:
        key = self._config.service.service_key
        return DirectoryRecord(
            unix_ms(),
            tenant,
            key.token,
            key.public_key.sha256,
            head.epoch,
            head.expires_at_ms,
            hashlib.sha256(signed).digest(),
        )

    def _lasts_s(self, tenant: str, now_ms: int, ttl_ms: int) -> float:
        """Seconds until the directory is renewed, or a key version in it changes its state as scheduled."""
        known = self._config.tenants.get(tenant)
        change_ms = None if known is None else known.next_change_ms(now_ms)
        renewal_s = ttl_ms / 1000 / RENEWALS
        return renewal_s if change_ms is None else min(renewal_s, (change_ms - now_ms) / 1000)

    def _failed(self, tenant: str, error: SigningError) -> None:
        self._metrics.directories.labels(error.reason).inc()
        log.warning("directory.failed", extra={"tenant": tenant, "why": str(error)})
