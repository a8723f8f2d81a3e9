"""Stop orders in force on this host, by tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.config.stop_rules import Stops

if TYPE_CHECKING:
    from collections.abc import KeysView

    from queueing.protocol.stop_orders import StopOrder
    from workers.config.tenants import Tenant


class CurrentStopOrders:
    """Verified stop orders. ``StopOrderSync`` adds them; the router, the lanes and the canaries ask for them.

    An order that is in force stays so until the process ends: only its tenant's configuration can lift it.
    """

    def __init__(self) -> None:
        self._signed: dict[bytes, bytes] = {}
        self._by_tenant: dict[str, dict[bytes, StopOrder]] = {}

    def __len__(self) -> int:
        return len(self._signed)

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._signed

    def add(self, order: StopOrder, signed: bytes) -> None:
        """Put a verified order in force; ``signed`` is its signed form."""
        self._signed[order.order_id] = signed
        self._by_tenant.setdefault(order.tenant, {})[order.order_id] = order

    def order_ids(self) -> KeysView[bytes]:
        """The ids of all orders."""
        return self._signed.keys()

    def signed(self, order_id: bytes) -> bytes:
        """The signed form of one order."""
        return self._signed[order_id]

    def signed_orders(self, tenant: str) -> tuple[bytes, ...]:
        """The signed orders against a tenant, for its lanes."""
        return tuple(self._signed[order_id] for order_id in self._by_tenant.get(tenant, ()))

    def stops_of(self, tenant: Tenant) -> Stops:
        """The rules that the orders make for a tenant, less those that its configuration lifts."""
        return Stops.of(tenant, self._by_tenant.get(tenant.name, {}).values())
