"""Claims that Redis refuses although it answers: whether it refuses all of them, and what has been logged of it.

A Redis user without rights, a replica, a Redis without memory refuse every claim; damaged keys those of one tenant.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from queueing.errors import QueueUnavailable
    from workers.current_config import CurrentConfig

POLLS: Final = 3
"""Slow polls without a claim that was accepted, after which Redis counts as refusing all: each tenant is polled in one."""


REPORT_S: Final = 60.0
"""Shortest time between two log lines of a tenant with one reason: its Redis user can make claims fail and succeed in turn."""


class Refusals:
    """Refused tenants, with the reason of each; ``total`` may be read by any thread."""

    def __init__(self, config: CurrentConfig, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock_s = clock_s
        self._patience_s = POLLS * config.service.worker.slow_poll_s
        self._reasons: dict[str, str] = {}
        self._reported_at_s: dict[tuple[str, str], float] = {}
        self._unreported: set[str] = set()
        self._accepted_s = float("-inf")

    def accepted(self, tenant: str) -> None:
        """A claim of this tenant was carried out."""
        self._reasons.pop(tenant, None)
        self._unreported.discard(tenant)
        self._accepted_s = self._clock_s()

    def refused(self, tenant: str, error: QueueUnavailable) -> bool:
        """A claim of this tenant was refused; whether that is news, to be logged.

        Of a cause outside of the tenant's keys it is so once, not once for each tenant. What was news of this tenant is so again
        a minute later at the soonest.
        """
        reason, now_s = str(error), self._clock_s()
        known = self._is_reported(tenant, reason) or (
            error.server_wide and any(self._is_reported(other, reason) for other in self._reasons)
        )
        self._reasons[tenant] = reason
        if known:
            return False
        lately = {news: at_s for news, at_s in self._reported_at_s.items() if now_s < at_s + REPORT_S}
        if (tenant, reason) in lately:
            self._unreported.add(tenant)
            return False
        self._unreported.discard(tenant)
        self._reported_at_s = {**lately, (tenant, reason): now_s}
        return True

    def _is_reported(self, tenant: str, reason: str) -> bool:
        return self._reasons.get(tenant) == reason and tenant not in self._unreported

    @property
    def total(self) -> bool:
        """Whether every claim of late was refused."""
        tenants = self._config.tenants
        waiting = any(tenant in tenants and not tenants[tenant].suspended for tenant in [*self._reasons])
        return waiting and self._clock_s() - self._accepted_s > self._patience_s
