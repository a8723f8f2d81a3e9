"""Stop orders in force, applied to one tenant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import ClientRevoked, KeyDisabled, PolicyDenied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueing.protocol.stop_orders import Scope, StopOrder
    from workers.config.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Stops:
    """Stop orders of one tenant: order ids by scope and name. Orders that the tenant's file lifts are left out."""

    tenant: str | None = None
    keys: dict[str, str] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    issuers: dict[str, str] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tenant: Tenant, orders: Iterable[StopOrder]) -> Stops:
        """Orders in force for this tenant at its epoch."""
        whole: str | None = None
        named: dict[Scope, dict[str, str]] = {
            "key": {},
            "client": {},
            "version": {},
            "issuer": {},
            "subject": {},
        }
        for order in orders:
            if not in_force(order, tenant):
                continue
            if order.scope == "tenant":
                whole = order.hex_id
            else:
                named[order.scope][order.name] = order.hex_id
        return cls(
            whole,
            keys=named["key"],
            clients=named["client"],
            versions=named["version"],
            issuers=named["issuer"],
            subjects=named["subject"],
        )

    def check_tenant(self) -> None:
        """Raise ``PolicyDenied`` when the whole tenant is stopped."""
        if self.tenant is not None:
            raise PolicyDenied(f"rule `stop`: an operator's order stops the tenant ({self.tenant})")

    def check_client(self, client: str) -> None:
        """Raise ``ClientRevoked`` when this client is stopped."""
        if client in self.clients:
            raise ClientRevoked(f"an operator's order stops the client ({self.clients[client]})")

    def check_issuer(self, issuer: str) -> None:
        """Raise ``ClientRevoked`` when this issuer's grants are stopped."""
        if issuer in self.issuers:
            raise ClientRevoked(f"an operator's order stops the issuer ({self.issuers[issuer]})")

    def check_subject(self, subject: str) -> None:
        """Raise ``ClientRevoked`` when grants of this subject are stopped."""
        if subject in self.subjects:
            raise ClientRevoked(f"an operator's order stops the subject ({self.subjects[subject]})")

    def check_key(self, key: str) -> None:
        """Raise ``KeyDisabled`` when this key is stopped."""
        if key in self.keys:
            raise KeyDisabled(f"an operator's order stops the key ({self.keys[key]})")

    def check_version(self, key: str, version: int) -> None:
        """Raise ``KeyDisabled`` when this version of the key is stopped."""
        order = self.versions.get(f"{key}/{version}")
        if order is not None:
            raise KeyDisabled(f"an operator's order stops version {version} of the key ({order})")


def in_force(order: StopOrder, tenant: Tenant) -> bool:
    """Whether the order is against this tenant, and its file does not lift it."""
    return order.tenant == tenant.name and order.order_id not in tenant.lifted_orders


NO_STOPS: Final = Stops()
