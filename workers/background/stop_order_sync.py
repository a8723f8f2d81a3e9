"""The worker's side of stop orders: hear of them, verify, obey, forward to the lanes, keep, and put up again."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Final

from queueing.coordination import stop_order_feed as order_board
from queueing.errors import QueueUnavailable
from queueing.protocol.stop_orders import OrderInvalid, StopOrder, read_order, verify_order
from workers.config.stop_rules import StopOrderFolder, Stops
from workers.state.directory import reading_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.orders")

LOOK_S: Final = 0.5
"""How often the board is looked at, beside the channel: an order is obeyed within a second however it travels."""

_LANES_LOOK_S: Final = 0.02
"""While lanes owe the answer to an order."""

REFUSED_LOG_S: Final = 60.0

MOST_REFUSED_REMEMBERED: Final = 8192
"""What was refused is not verified again at each look."""


class StopOrderSync:
    """The stop orders of this host. ``obey(tenant)`` is called when there is one more for that tenant;

    ``obeyed(tenant)`` tells when all its lanes have answered.
    """

    def __init__(
        self,
        *,
        redis: Redis,
        service: Callable[[], ServiceConfiguration],
        obey: Callable[[str], None],
        obeyed: Callable[[str], bool],
        owner: str,
        metrics: Metrics,
    ) -> None:
        self._redis = redis
        self._service = service
        self._obey = obey
        self._obeyed = obeyed
        self._owner = owner
        self._metrics = metrics
        self._folder = StopOrderFolder(service().state_dir)
        self._signed: dict[bytes, bytes] = {}
        self._by_tenant: dict[str, dict[bytes, StopOrder]] = {}
        self._refused: dict[bytes, None] = {}
        self._unsaved: dict[bytes, StopOrder] = {}
        self._unsaid: dict[str, str] = {}
        self._said_refused_at = -REFUSED_LOG_S
        self._wake = asyncio.Event()
        self.redis_answers = True

    def start(self) -> None:
        """Obey what was in force before the restart; ``ConfigError`` where nobody can say what was."""
        audience = self._service().audience
        with reading_state(self._service().file):
            kept = self._folder.read(audience)
        for signed in kept.values():
            self._take(read_order(signed, audience), signed)

    def configuration_changed(self) -> None:
        """There may be other operators now: what was refused is judged anew."""
        self._refused.clear()
        self._wake.set()

    def signed_orders(self, tenant: str) -> tuple[bytes, ...]:
        """The signed orders against this tenant, for its lanes."""
        return tuple(self._signed[order_id] for order_id in self._by_tenant.get(tenant, ()))

    def stops_of(self, tenant: Tenant) -> Stops:
        """What is stopped of this tenant."""
        return Stops.of(tenant, self._by_tenant.get(tenant.name, {}).values())

    def offer(self, signed: bytes) -> None:
        """Somebody brought an order: obey it if an operator signed it."""
        digest = hashlib.sha256(signed).digest()
        if digest in self._refused:
            return
        service = self._service()
        try:
            order = verify_order(signed, service.audience, service.operators)
        except OrderInvalid as error:
            if len(self._refused) >= MOST_REFUSED_REMEMBERED:
                self._refused.clear()
            self._refused[digest] = None
            self._metrics.orders_refused.labels(str(error)).inc()
            self._say_refused(str(error))
            return
        if order.order_id in self._signed:
            return
        self._take(order, signed)
        self._unsaved[order.order_id] = order
        self._unsaid[order.hex_id] = order.tenant
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
        self._obey(order.tenant)
        self._wake.set()

    def _say_refused(self, why: str) -> None:
        """Anybody who reaches Redis can bring orders: they are counted, and logged now and then."""
        now = time.monotonic()
        if now - self._said_refused_at > REFUSED_LOG_S:
            self._said_refused_at = now
            log.warning("order.refused", extra={"why": why})

    async def run(self) -> None:
        """Look at the board, keep what is new, put up what was taken down; for ever."""
        while True:
            self._wake.clear()
            await self._save()
            try:
                await self._look()
                self.redis_answers = True
            except QueueUnavailable as error:
                if self.redis_answers:
                    log.warning("redis.failed", extra={"operation": "orders", "why": str(error)})
                self.redis_answers = False
            try:
                async with asyncio.timeout(_LANES_LOOK_S if self._unsaid else LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        board = await order_board.poll(self._redis, self._signed.keys())
        for signed in board.new.values():
            self.offer(signed)
        if board.missing:
            await order_board.publish(self._redis, {i: self._signed[i] for i in board.missing})
        said = [order_id for order_id, tenant in self._unsaid.items() if self._obeyed(tenant)]
        if said:
            await order_board.acknowledge(self._redis, said, self._owner, time.time_ns() // 1_000_000)
            for order_id in said:
                del self._unsaid[order_id]

    async def _save(self) -> None:
        for order in list(self._unsaved.values()):
            try:
                await asyncio.to_thread(self._folder.keep, order, self._signed[order.order_id])
            except OSError as error:
                log.error("order.not_kept", extra={"order": order.hex_id, "why": str(error)})
                return
            self._unsaved.pop(order.order_id, None)

    def _take(self, order: StopOrder, signed: bytes) -> None:
        self._signed[order.order_id] = signed
        self._by_tenant.setdefault(order.tenant, {})[order.order_id] = order
        self._metrics.orders.set(len(self._signed))
