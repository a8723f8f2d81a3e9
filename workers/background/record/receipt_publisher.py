"""Publishes receipts to Redis, which the sealer has made and has handed over in files."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from queueing.aio.backoff import Backoff
from queueing.broker.receipts import JobReceipt, publish
from queueing.errors import QueueUnavailable
from queueing.files.regular_file import NOT_A_FILE
from queueing.protocol.jobs import tenant_of_job_id
from queueing.unix_time import unix_ms
from workers.record.receipts.outbox import ReceiptOutbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from workers.current_config import CurrentConfig
    from workers.record.receipts.outbox import OutboxFile, SealedReceipt
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

INTERVAL_S: Final = 0.25
"""Delay of a receipt beside the second of its checkpoint."""

MOST_AT_ONCE: Final = 128
"""Receipts per round trip: some 150 kB."""


class ReceiptPublisher:
    """Publishes files of receipts, each until Redis has it or its results have gone. A tenant whose shard is away is tried less
    often, up to every half minute, and holds up no other. Nothing waits for it but clients that want receipts.
    """

    def __init__(self, redis: Redis, config: CurrentConfig, metrics: Metrics) -> None:
        service = config.service
        self._redis = redis
        self._outbox = ReceiptOutbox(service.state_dir)
        self._retention_ms = int(service.worker.result_retention_s * 1000)
        self._metrics = metrics
        self._paused: dict[str, tuple[Backoff, float]] = {}
        self._invalid: set[Path] = set()

    async def run(self) -> None:
        """Publish every ``INTERVAL_S`` seconds, until cancelled."""
        backoff = Backoff(first_s=1.0, most_s=60.0)
        while True:
            try:
                await self.publish(now_s=time.monotonic(), now_ms=unix_ms())
            except OSError as error:
                log.warning("record.receipts_unread", extra={"why": error.strerror or str(error)})
                await asyncio.sleep(backoff.next_s())
            else:
                backoff.reset()
                await asyncio.sleep(INTERVAL_S)

    async def publish(self, *, now_s: float, now_ms: int) -> None:
        """Publish what is there, but for tenants that wait for a next try: their shard was away, or a file of theirs could not be
        read or removed. Raises ``OSError`` where the files cannot be listed.

        ``now_s``: of the monotonic clock; ``now_ms``: Unix time.
        """
        files = await asyncio.to_thread(self._outbox.files)
        self._invalid &= {file.path for file in files}
        for file in files:
            if file.path in self._invalid:
                continue
            _, until_s = self._paused.get(file.tenant, (None, now_s))
            if now_s >= until_s:
                try:
                    await self._publish_file(file, now_s, now_ms)
                except OSError as error:  # of this file
                    self._pause(file.tenant, now_s)
                    log.warning("record.receipts_unread", extra={"why": str(error)})

    async def _publish_file(self, file: OutboxFile, now_s: float, now_ms: int) -> None:
        try:
            receipts = await asyncio.to_thread(file.read)
        except (ValueError, OSError) as error:  # msgspec's errors are ValueErrors
            if isinstance(error, OSError) and error.errno not in NOT_A_FILE:
                raise  # of the disk, or of this process: the receipts may be whole
            log.warning("record.receipts_invalid", extra={"file": file.path.name, "why": str(error)})
            self._metrics.record_failures.labels("receipt").inc()
            self._invalid.add(file.path)  # a folder stays, and is told once
            with suppress(OSError):
                await asyncio.to_thread(file.remove)
            return
        current = self._current(file.tenant, receipts, now_ms)
        try:
            for at in range(0, len(current), MOST_AT_ONCE):
                part = current[at : at + MOST_AT_ONCE]
                await publish(self._redis, part, retention_ms=self._retention_ms)
        except QueueUnavailable as error:
            self._pause(file.tenant, now_s)
            self._metrics.redis_errors.labels("announce").inc()
            log.warning("record.receipts_unpublished", extra={"tenant": file.tenant, "why": str(error)})
            return
        await asyncio.to_thread(file.remove)
        self._paused.pop(file.tenant, None)
        self._metrics.record_failures.labels("receipt").inc(len(receipts) - len(current))

    def _current(self, tenant: str, receipts: Sequence[SealedReceipt], now_ms: int) -> list[JobReceipt]:
        """Receipts of this tenant whose results may still be there."""
        return [
            JobReceipt(receipt.job_id, receipt.proof, receipt.released)
            for receipt in receipts
            if now_ms - receipt.at_ms <= self._retention_ms and tenant_of_job_id(receipt.job_id) == tenant
        ]

    def _pause(self, tenant: str, now_s: float) -> None:
        backoff, _ = self._paused.get(tenant, (Backoff(first_s=1.0, most_s=30.0), 0.0))
        self._paused[tenant] = backoff, now_s + backoff.next_s()
