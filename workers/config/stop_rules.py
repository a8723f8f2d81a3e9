"""The stop orders in force on this host: kept on disk, applied to one tenant at a time."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import ClientRevoked, KeyDisabled, PolicyDenied
from queueing.files.folders import entries
from queueing.protocol.stop_orders import OrderInvalid, StopOrder, read_order

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from workers.config.tenants import Tenant

log = logging.getLogger("sigmill.orders")


@dataclass(frozen=True, slots=True)
class Stops:
    """What orders stop of one tenant: order ids by scope and name. Those that its file lifts are left out."""

    tenant: str | None = None
    keys: dict[str, str] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, tenant: Tenant, orders: Iterable[StopOrder]) -> Stops:
        """The orders that are in force for this tenant at its epoch."""
        whole: str | None = None
        keys: dict[str, str] = {}
        clients: dict[str, str] = {}
        for order in orders:
            if order.tenant != tenant.name or order.order_id in tenant.lifted_orders:
                continue
            if order.scope == "tenant":
                whole = order.hex_id
            else:
                (keys if order.scope == "key" else clients)[order.name] = order.hex_id
        return cls(whole, keys, clients)

    def check_tenant(self) -> None:
        """Raise ``PolicyDenied`` when the whole tenant is stopped."""
        if self.tenant is not None:
            raise PolicyDenied(f"rule `stop`: an operator's order stops the tenant ({self.tenant})")

    def check_client(self, client: str) -> None:
        """Raise ``ClientRevoked`` when this client is stopped."""
        if client in self.clients:
            raise ClientRevoked(f"an operator's order stops the client ({self.clients[client]})")

    def check_key(self, key: str) -> None:
        """Raise ``KeyDisabled`` when this key is stopped."""
        if key in self.keys:
            raise KeyDisabled(f"an operator's order stops the key ({self.keys[key]})")


NO_STOPS: Final = Stops()


class StopOrderFolder:
    """Signed orders in the state directory, a file each. Whoever puts one there has verified it.

    They are not verified again when read: an operator who has left the configuration gives no rights back.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "orders"

    def read(self, audience: str) -> dict[bytes, bytes]:
        """Signed orders by id. A file that cannot be read, or is for another cluster, is logged and left out.

        Raises ``OSError`` where the folder cannot be listed: nobody knows then what is stopped.
        """
        found: dict[bytes, bytes] = {}
        for file in entries(self._folder, suffix=".order", missing_ok=True):
            try:
                signed = file.read_bytes()
                found[read_order(signed, audience).order_id] = signed
            except (OSError, OrderInvalid) as error:
                log.error("order.unreadable", extra={"file": str(file), "why": str(error)})
        return found

    def keep(self, order: StopOrder, signed: bytes) -> None:
        """Write one durably; raises ``OSError``."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"{order.hex_id}.order"
        draft = file.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(signed)
            stream.flush()
            os.fsync(descriptor)
        draft.replace(file)
