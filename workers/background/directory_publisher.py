"""Key directories: signed by the service's lane, published in Redis, and put back when Redis has lost them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.coordination.publication import directories_missing, publish_directory
from queueing.errors import SigningError
from queueing.protocol import keyspace
from workers.lanes.protocol import SignDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from redis.asyncio import Redis

    from workers.lanes.supervisor.token_pool import TokenPool
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

RENEWALS: Final = 4
"""A directory is published anew this often within its time to live."""

LOOK_S: Final = 2.0
"""How often some are looked for in Redis, which may have lost them: without one no client can start."""

LOOKS_AT_ONCE: Final = 500
"""One round trip; 5,000 tenants are looked through in 20 s."""


class DirectoryPublisher:
    """Publishes the directory of every tenant. Failures are tried again."""

    def __init__(
        self,
        *,
        redis: Redis,
        tenants: Callable[[], Collection[str]],
        service_lanes: Callable[[], TokenPool | None],
        metrics: Metrics,
        ttl_s: float,
    ) -> None:
        self._redis = redis
        self._tenants = tenants
        self._service_lanes = service_lanes
        self._metrics = metrics
        self._ttl_s = ttl_s
        self._numbers = itertools.count(1)
        self._due: dict[str, float] = {}
        self._first: set[str] = set()
        self._looked = 0
        self._wake = asyncio.Event()

    def again(self, tenants: Iterable[str]) -> None:
        """These have changed: publish them now, before all others."""
        self._first.update(tenants)
        self._wake.set()

    async def run(self) -> None:
        """At the start, well within their time to live, when one is lost, and when asked; for ever."""
        while True:
            self._wake.clear()
            while self._first:
                await self._publish(self._first.pop())
            now = time.monotonic()
            for tenant in [t for t in self._tenants() if now >= self._due.get(t, 0.0)]:
                await self._publish(tenant)
                if self._first:
                    break
            else:
                await self._look()
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        """Some of the tenants, in turn: those that Redis has lost are due at once, or when they are tried again."""
        tenants = sorted(self._tenants())
        part = tenants[self._looked : self._looked + LOOKS_AT_ONCE]
        self._looked = self._looked + LOOKS_AT_ONCE if self._looked + LOOKS_AT_ONCE < len(tenants) else 0
        try:
            missing = await directories_missing(self._redis, part)
        except SigningError as error:
            self._failed(part[0], error)
            return
        soon = time.monotonic() + LOOK_S
        lost = [tenant for tenant in missing if self._due.get(tenant, 0.0) > soon]
        if lost:
            self.again(lost)

    async def _publish(self, tenant: str) -> None:
        lanes = self._service_lanes()
        if lanes is None or tenant not in self._tenants():
            self._due.pop(tenant, None)
            return
        now_ms, ttl_ms = time.time_ns() // 1_000_000, int(self._ttl_s * 1000)
        self._due[tenant] = time.monotonic() + LOOK_S
        try:
            answer = await lanes.requests.sign_directory(
                SignDirectory(next(self._numbers), tenant, now_ms, now_ms + ttl_ms)
            )
            if answer.error is not None:
                raise answer.error.error()
            await publish_directory(self._redis, keyspace.directory(tenant), answer.signed, ttl_ms)
        except SigningError as error:
            self._failed(tenant, error)
            return
        self._due[tenant] = time.monotonic() + self._ttl_s / RENEWALS
        self._metrics.directories.labels("published").inc()

    def _failed(self, tenant: str, error: SigningError) -> None:
        self._metrics.directories.labels(error.reason).inc()
        log.warning("directory.failed", extra={"tenant": tenant, "why": str(error)})
