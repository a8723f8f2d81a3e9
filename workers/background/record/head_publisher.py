"""Publishes the newest certified head of each log of this host to Redis, where a restored copy of its state directory is known by it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.coordination.record_heads import HeadUpdate, replace_heads
from queueing.errors import ProofInvalid, QueueUnavailable, SigningError
from queueing.files.folders import is_there
from queueing.protocol import keyspace
from workers.record.folder import FOLDER_NAME, LOGS_NAME
from workers.record.heads.certified import CertifiedHeads
from workers.record.published import tenants_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from workers.background.record.origin_check import OriginCheck
    from workers.current_config import CurrentConfig
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

INTERVAL_S: Final = 5.0
"""A copy of the state directory that is restored within this time is not known by what it lacks; more often costs the worker
a percent of a core for each hundred tenants that sign all the time."""

AGAIN_S: Final = 600.0
"""Age at which a head is published again that has not changed: a Redis that has lost it has it again."""

MOST_AT_ONCE: Final = 128
"""Heads per round trip: some 170 kB."""

_NAME: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class _LocalHead:
    tenant: str
    name: str
    signed: bytes

    @property
    def key(self) -> str:
        return keyspace.record_head(self.tenant, self.name)


@dataclass(frozen=True, slots=True)
class _InRedis:
    """Value of Redis that was compared or published. ``published_s``: when it was, by the monotonic clock; None: not by this process."""

    value: bytes
    published_s: float | None = None


_MISSING: Final = _InRedis(b"")


class HeadPublisher:
    """Publishes heads whose key is certified, so that a fork, which is not, never replaces the head that tells of it.

    A value that it has not seen is compared before it is replaced: another host with a copy of this state directory publishes
    under the same name.
    """

    def __init__(self, redis: Redis, config: CurrentConfig, origins: OriginCheck, metrics: Metrics) -> None:
        self._redis = redis
        self._config = config
        self._origins = origins
        self._metrics = metrics
        self._logs_folder = config.service.state_dir / FOLDER_NAME / LOGS_NAME
        self._heads = CertifiedHeads(self._logs_folder)
        self._in_redis: dict[str, _InRedis] = {}

    async def run(self) -> None:
        """Publish every ``INTERVAL_S`` seconds, and less often while Redis is away, until cancelled."""
        backoff = Backoff(first_s=INTERVAL_S, most_s=60.0)
        while True:
            try:
                await self.publish(time.monotonic())
            except (SigningError, OSError) as error:
                self._failed(error)
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                await asyncio.sleep(INTERVAL_S)

    async def close(self, within_s: float) -> None:
        """Publish the last heads, when the sealer has ended: a copy that is made from now on is the newest."""
        try:
            async with asyncio.timeout(within_s):
                await self.publish(time.monotonic())
        except (SigningError, OSError) as error:  # TimeoutError is one of them
            self._failed(error)

    async def publish(self, now_s: float) -> None:
        """Publish what is newer than before, or was published long ago. ``now_s``: of the monotonic clock.

        Raises at the end the error of a single tenant: a ``SigningError``, or ``OSError``.
        """
        failures = await self._publish(now_s)
        if failures:
            raise failures[-1]

    async def _publish(self, now_s: float) -> list[SigningError | OSError]:
        failures: list[SigningError | OSError] = []
        # Heads are read again after a comparison: they are no older than what was compared.
        for _ in range(2):
            failures.clear()
            heads = await asyncio.to_thread(self._changed, now_s, failures)
            unseen: list[_LocalHead] = []
            for at in range(0, len(heads), MOST_AT_ONCE):
                unseen += await self._replace(heads[at : at + MOST_AT_ONCE], now_s, failures)
            if not unseen:
                break
            failures += await self._compare(unseen)
        return failures

    def _changed(self, now_s: float, failures: list[SigningError | OSError]) -> list[_LocalHead]:
        """Heads that are to be published; errors of single logs are added to ``failures``. Blocks."""
        changed = []
        for tenant in self._tenants():
            try:
                head = self._local_head(tenant)
            except (ProofInvalid, OSError) as error:
                failures.append(error)
                continue
            if head is not None and self._is_due(head, now_s):
                changed.append(head)
        return changed

    def _tenants(self) -> list[str]:
        """Tenants with a log on this host, in order."""
        if not is_there(self._logs_folder):
            return []
        return sorted(tenants_of(self._logs_folder))

    def _local_head(self, tenant: str) -> _LocalHead | None:
        """Certified head of the tenant's log, or None where there is none, or one under a former ``[record] name``.

        Raises ``ProofInvalid``, ``OSError``.
        """
        head = self._heads.read(tenant)
        if head is None:
            return None
        log_name, _, name = head.origin.rpartition(f"/{tenant}/")
        if log_name != self._config.service.log_name or not _NAME.fullmatch(name):
            return None
        return _LocalHead(tenant, name, head.signed)

    def _is_due(self, head: _LocalHead, now_s: float) -> bool:
        """Whether Redis has another value, or has had this one from this process for ``AGAIN_S``, or not from it at all."""
        there = self._in_redis.get(head.key, _MISSING)
        if there.value != head.signed or there.published_s is None:
            return True
        return now_s - there.published_s >= AGAIN_S

    async def _replace(
        self, heads: Sequence[_LocalHead], now_s: float, failures: list[SigningError | OSError]
    ) -> list[_LocalHead]:
        """Replace the values that were seen; returns the heads of which Redis has another value."""
        updates = [
            HeadUpdate(each.key, each.signed, self._in_redis.get(each.key, _MISSING).value) for each in heads
        ]
        unseen = []
        for head, replaced in zip(heads, await replace_heads(self._redis, updates), strict=True):
            if isinstance(replaced, QueueUnavailable):
                failures.append(replaced)
            elif replaced:
                self._in_redis[head.key] = _InRedis(head.signed, now_s)
            else:
                unseen.append(head)
        return unseen

    async def _compare(self, unseen: Sequence[_LocalHead]) -> list[SigningError | OSError]:
        """Look at the values of Redis; those that the logs continue may be replaced. Returns the errors of the others."""
        failures: list[SigningError | OSError] = []
        for name in sorted({head.name for head in unseen}):
            tenants = [head.tenant for head in unseen if head.name == name]
            try:
                compared = await self._origins.compare(name, tenants)
            except SigningError as error:
                failures.append(error)
                continue
            failures += compared.uncertain.values()
            for tenant, value in compared.continued.items():
                self._in_redis[keyspace.record_head(tenant, name)] = _InRedis(value)
        return failures

    def _failed(self, error: SigningError | OSError) -> None:
        if isinstance(error, QueueUnavailable):
            self._metrics.redis_errors.labels("announce").inc()
        log.warning("record.heads_unpublished", extra={"why": str(error) or "it took too long"})
