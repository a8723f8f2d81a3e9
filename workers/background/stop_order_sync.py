"""Synchronises stop orders: receives them from Redis, verifies, applies and stores them, publishes lost ones again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.aio.events import wait_for
from queueing.coordination import stop_order_feed
from queueing.errors import LogUnavailable, QueueUnavailable
from queueing.protocol.stop_orders import OrderInvalid, StopOrder, read_order, verify_order
from queueing.unix_time import unix_ms
from workers.journal.event_records import StopOrderRecord
from workers.journal.event_spool import EventSpool
from workers.state.directory import reading_state
from workers.state.stop_orders import StopOrderFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from workers.current_config import CurrentConfig
    from workers.current_stop_orders import CurrentStopOrders
    from workers.journal.journal import WriteAheadLog
    from workers.lanes.supervisor.registry import LaneRegistry
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.orders")

POLL_S: Final = 0.5
"""Time between two polls of the feed, which complement the channel: an order is applied within a second in any case."""

_LANES_POLL_S: Final = 0.02
"""Time between two polls while lanes have not confirmed an order."""

REFUSED_LOG_S: Final = 60.0
"""Shortest time between two log lines about refused orders."""

MOST_REFUSED_REMEMBERED: Final = 8192
"""Digests of refused orders, which are not verified again at each poll."""


class StopOrderSync:
    """Keeps ``orders`` in step with the feed in Redis and the state directory, and has ``lanes`` apply them."""

    def __init__(  # noqa: PLR0913 - where orders come from, and where they go
        self,
        redis: Redis,
        config: CurrentConfig,
        *,
        orders: CurrentStopOrders,
        lanes: LaneRegistry,
        owner: str,
        wal: WriteAheadLog,
        metrics: Metrics,
    ) -> None:
        self._redis = redis
        self._config = config
        self._orders = orders
        self._lanes = lanes
        self._owner = owner
        self._wal = wal
        self._metrics = metrics
        self._folder = StopOrderFolder(config.service.state_dir)
        self._refused: dict[bytes, None] = {}
        self._spool = EventSpool(config.service.state_dir)
        self._unrecorded: list[StopOrderRecord] = []
        self._unsaved: dict[bytes, StopOrder] = {}
        self._unconfirmed: dict[str, str] = {}
        self._not_kept = ""
        self._logged_refused_at = -REFUSED_LOG_S
        self._wake = asyncio.Event()
        self.redis_answers = True

    def start(self) -> None:
        """Apply the orders that were in force before the restart; ``ConfigError`` where they cannot be read."""
        audience = self._config.service.audience
        with reading_state(self._config.service.file):
            kept = self._folder.read(audience)
        for signed in kept.values():
            self._apply(read_order(signed, audience), signed)

    def configuration_changed(self, changed: Sequence[str]) -> None:
        """Verify refused orders again: there may be other operators now, whichever tenants changed."""
        del changed
        self._refused.clear()
        self._wake.set()

    def offer(self, signed: bytes) -> None:
        """Apply an order if an operator signed it. Every client of this Redis can offer one."""
        digest = hashlib.sha256(signed).digest()
        if digest in self._refused:
            return
        service = self._config.service
        try:
            order = verify_order(signed, service.audience, service.operators)
        except OrderInvalid as error:
            if len(self._refused) >= MOST_REFUSED_REMEMBERED:
                self._refused.clear()
            self._refused[digest] = None
            self._metrics.orders_refused.labels(str(error)).inc()
            self._log_refused(str(error))
            return
        if order.order_id in self._orders:
            return
        self._apply(order, signed)
        self._unrecorded.append(_record_of(order))
        self._unsaved[order.order_id] = order
        self._unconfirmed[order.hex_id] = order.tenant
        log.warning(
            "order.adopted",
            extra={
                "order": order.hex_id,
                "operator": order.operator,
                "scope": order.scope,
                "tenant": order.tenant,
                "target": order.name,
                "reason": order.reason,
            },
        )
        self._lanes.apply_stop_orders(order.tenant)
        self._wake.set()

    def _log_refused(self, why: str) -> None:
        """Log a refused order, at most one per ``REFUSED_LOG_S``: a client with access to Redis can publish any number."""
        now = time.monotonic()
        if now - self._logged_refused_at > REFUSED_LOG_S:
            self._logged_refused_at = now
            log.warning("order.refused", extra={"why": why})

    async def run(self) -> None:
        """Store new orders and poll the feed, until cancelled."""
        try:
            await self._run()
        finally:
            if self._unrecorded:
                self._wal.append_nowait(self._unrecorded)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._save()
            try:
                await self._poll()
                self.redis_answers = True
            except QueueUnavailable as error:
                if self.redis_answers:
                    log.warning("redis.failed", extra={"operation": "orders", "why": str(error)})
                self.redis_answers = False
            await wait_for(self._wake, _LANES_POLL_S if self._unconfirmed else POLL_S)

    async def _poll(self) -> None:
        """Apply new orders, publish those that Redis lost, and report those that all lanes apply."""
        board = await stop_order_feed.poll(self._redis, self._orders.order_ids())
        for signed in board.new.values():
            self.offer(signed)
        if board.missing:
            await stop_order_feed.publish(self._redis, {i: self._orders.signed(i) for i in board.missing})
        applied = [
            order_id
            for order_id, tenant in self._unconfirmed.items()
            if self._lanes.stop_orders_applied(tenant)
        ]
        if applied:
            await stop_order_feed.acknowledge(self._redis, applied, self._owner, unix_ms())
            for order_id in applied:
                del self._unconfirmed[order_id]

    async def _record(self) -> None:
        """Record new orders, before the folder has them: a restart takes these for known.

        While the log fails their records wait in the spool, from where they come into the log also after a crash. Where neither
        can be written it is tried with the next poll: an order is in force, and kept, whatever the disk of its record says.
        """
        records = list(self._unrecorded)
        if not records:
            return
        try:
            await self._wal.append(records)
        except LogUnavailable:
            try:
                await asyncio.to_thread(self._spool.put, *records)
            except OSError:
                return  # the log tells of its disk itself
        del self._unrecorded[: len(records)]

    async def _save(self) -> None:
        await self._record()
        for order in list(self._unsaved.values()):
            try:
                await asyncio.to_thread(self._folder.keep, order, self._orders.signed(order.order_id))
            except OSError as error:
                if self._not_kept != str(error):  # it is tried twice a second
                    self._not_kept = str(error)
                    log.error("order.not_kept", extra={"order": order.hex_id, "why": str(error)})
                break
            self._unsaved.pop(order.order_id, None)
            self._not_kept = ""
        self._metrics.orders_not_kept.set(len(self._unsaved))

    def _apply(self, order: StopOrder, signed: bytes) -> None:
        self._orders.add(order, signed)
        self._metrics.orders.set(len(self._orders))


def _record_of(order: StopOrder) -> StopOrderRecord:
    return StopOrderRecord(
        unix_ms(),
        order.tenant,
        order.order_id,
        order.operator,
        order.scope,
        order.name,
        order.reason,
    )
