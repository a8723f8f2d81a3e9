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
        self._refused: set[str] = set()
        self._told: dict[str, str] = {}  # why, of refused tenants of which the log has it
        self._told_at_s: dict[tuple[str, str], float] = {}  # within the last REPORT_S
        self._accepted_s = float("-inf")

    def accepted(self, tenant: str) -> None:
        """A claim of this tenant was carried out."""
        self._refused.discard(tenant)
        self._told.pop(tenant, None)
        self._accepted_s = self._clock_s()

    def refused(self, tenant: str, error: QueueUnavailable) -> bool:
        """A claim of this tenant was refused; whether that is news, to be logged.

        Of a cause outside of the tenant's keys it is so once, not once for each tenant. What was news of this tenant is so again
        a minute later at the soonest.
        """
        reason, now_s = str(error), self._clock_s()
        self._refused.add(tenant)
        if self._told.get(tenant) == reason or (error.server_wide and self._is_told_of_another(reason)):
            self._told[tenant] = reason
            return False
        lately = {news: at_s for news, at_s in self._told_at_s.items() if now_s < at_s + REPORT_S}
        if (tenant, reason) in lately:
            self._told.pop(tenant, None)
            return False
        self._told[tenant] = reason
        self._told_at_s = {**lately, (tenant, reason): now_s}
        return True

    def _is_told_of_another(self, reason: str) -> bool:
        return any(why == reason and self._is_claimed_for(tenant) for tenant, why in self._told.items())

    def _is_claimed_for(self, tenant: str) -> bool:
        """Whether claims are made for it: a refusal of another one is never taken back."""
        found = self._config.tenants.get(tenant)
        return found is not None and not found.suspended

    @property
    def total(self) -> bool:
        """Whether every claim of late was refused."""
        waiting = any(self._is_claimed_for(tenant) for tenant in [*self._refused])
        return waiting and self._clock_s() - self._accepted_s > self._patience_s
