"""Keys of foreign types, and queue members that are no jobs, which claims have removed: counted, and logged once a minute.

A tenant's Redis user can write them without limit. A line for each claim that removes some would fill the disk of the log.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.intake")

REPORT_S: Final = 60.0
"""Shortest time between two log lines of one tenant."""


class ReplacedKeys:
    """Counts and reports them, by tenant."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._unreported: Counter[str] = Counter()
        self._reported_at_s: dict[str, float] = {}

    def add(self, tenant: str, keys: int) -> None:
        """Count what a claim has removed; a line says all since the line before."""
        if not keys:
            return
        self._metrics.keys_replaced.labels(tenant).inc(keys)
        self._unreported[tenant] += keys
        now_s = time.monotonic()
        if now_s >= self._reported_at_s.get(tenant, float("-inf")) + REPORT_S:
            self._reported_at_s[tenant] = now_s
            log.warning("keys.replaced", extra={"tenant": tenant, "keys": self._unreported.pop(tenant)})
