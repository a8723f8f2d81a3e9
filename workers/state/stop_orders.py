"""Signed stop orders of this host: kept on disk, so that a restart without Redis forgets none."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from queueing.files.durable_file import make_folder, replace_durably
from queueing.files.folders import entries
from queueing.files.regular_file import read_regular
from queueing.protocol.stop_orders import MAX_SIGNED_BYTES, OrderInvalid, StopOrder, read_order

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger("sigmill.orders")


class StopOrderFolder:
    """Folder of signed orders in the state directory, a file each; the caller of ``keep`` has verified the signature.

    They are not verified again when read: an operator who was removed from the configuration restores no rights.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "orders"

    def read(self, audience: str) -> dict[bytes, bytes]:
        """Signed orders by id. Orders that are unreadable, or for another cluster, are logged and left out.

        Raises ``OSError`` where the folder cannot be listed: the stops in force are unknown then.
        """
        found: dict[bytes, bytes] = {}
        for file in entries(self._folder, suffix=".order", missing_ok=True):
            try:
                signed = read_regular(file, largest_bytes=MAX_SIGNED_BYTES)
                found[read_order(signed, audience).order_id] = signed
            except (OSError, OrderInvalid) as error:
                log.error("order.unreadable", extra={"file": str(file), "why": str(error)})
        return found

    def keep(self, order: StopOrder, signed: bytes) -> None:
        """Write an order durably. Raises ``OSError``."""
        make_folder(self._folder)
        replace_durably(self._folder / f"{order.hex_id}.order", signed)
