"""Stop orders as commands issue them: signed by an operator's key, sent, and confirmed by the workers."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from queueing.aio.runner import run
from queueing.coordination import stop_order_feed
from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import Scope, StopOrder, sign_order
from queueing.redis.connection import connect
from queueing.unix_time import unix_ms
from workers.config.service_file import ServiceConfiguration

_WAIT_S: Final = 2.0
"""Workers apply an order within a second; another second for their confirmations."""

_POLL_S: Final = 0.05
_MOST_REASON_CHARACTERS: Final = 500


class StopLine(msgspec.Struct, frozen=True, kw_only=True):
    """The order, the workers that confirmed it in time, and the number of workers that received it.

    ``within_s``: from the sending to the last confirmation, by the clock of the command; if one is missing, the time that it waited.
    """

    order: str
    scope: Scope
    tenant: str
    name: str
    adopted_by: tuple[str, ...]
    workers: int
    within_s: float

    @property
    def everywhere(self) -> bool:
        """Whether every worker that received the order has confirmed it, and there is one."""
        return 0 < self.workers <= len(self.adopted_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSender:
    """Sender of orders that ``operator`` signs, to the workers of one service."""

    service: ServiceConfiguration
    operator: str
    signer: ClientKey

    @classmethod
    def of(cls, service: ServiceConfiguration, operator: str, operator_key: Path) -> OrderSender:
        """The sender with the operator's private key. Raises ``ConfigError`` for one whose orders no worker takes."""
        signer = ClientKey.from_file(
            operator_key,
            remedy=f"Name the private key of {operator} by --operator-key; `sigmill operators create` makes one.",
            made_by="sigmill operators create",
        )
        known = service.operators.get(operator)
        if known is None or known.spki != signer.public_spki:
            raise ConfigError(
                str(service.file),
                f"operators.{operator}",
                "is not configured"
                if known is None
                else "has a public key that does not match this private key",
                "Workers accept orders only of operators in their configuration.",
            )
        return cls(service=service, operator=operator, signer=signer)

    def send(self, *, scope: Scope, tenant: str, name: str, reason: str) -> StopLine:
        """Send an order, then wait up to two seconds until the workers confirm it. Raises ``QueueUnavailable``."""
        order = StopOrder(
            audience=self.service.audience,
            order_id=os.urandom(16),
            issued_at_ms=unix_ms(),
            operator=self.operator,
            scope=scope,
            tenant=tenant,
            name=name,
            reason=reason[:_MOST_REASON_CHARACTERS],
        )
        began = time.monotonic()
        adopted, listening = run(_send(self.service, order, sign_order(order, self.signer)))
        took_s = time.monotonic() - began
        return StopLine(
            order=order.hex_id,
            scope=scope,
            tenant=tenant,
            name=name,
            adopted_by=tuple(sorted(adopted)),
            workers=listening,
            within_s=round(took_s, 3),
        )


async def _send(service: ServiceConfiguration, order: StopOrder, signed: bytes) -> tuple[dict[str, int], int]:
    """Publish the order, then wait up to two seconds until every worker that received it has confirmed it."""
    redis = connect(service.redis)
    try:
        listening = await stop_order_feed.publish(redis, {order.order_id: signed})
        adopted: dict[str, int] = {}
        deadline = time.monotonic() + _WAIT_S
        while len(adopted) < max(listening, 1) and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
            adopted = await stop_order_feed.acknowledged_by(redis, order.hex_id)
        return adopted, listening
    finally:
        await redis.aclose()
