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


class Refusals:
    """Refused tenants, with the reason of each; ``total`` may be read by any thread."""

    def __init__(self, config: CurrentConfig, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock_s = clock_s
        self._patience_s = POLLS * config.service.worker.slow_poll_s
        self._reasons: dict[str, str] = {}
        self._accepted_s = float("-inf")

    def accepted(self, tenant: str) -> None:
        """A claim of this tenant was carried out."""
        self._reasons.pop(tenant, None)
        self._accepted_s = self._clock_s()

    def refused(self, tenant: str, error: QueueUnavailable) -> bool:
        """A claim of this tenant was refused; whether that is news, to be logged.

        Of a cause outside of the tenant's keys it is so once, not once for each tenant.
        """
        reason = str(error)
        known = self._reasons.get(tenant) == reason or (
            error.server_wide and reason in self._reasons.values()
        )
        self._reasons[tenant] = reason
        return not known

    @property
    def total(self) -> bool:
        """Whether every claim of late was refused."""
        tenants = self._config.tenants
        waiting = any(tenant in tenants and not tenants[tenant].suspended for tenant in [*self._reasons])
        return waiting and self._clock_s() - self._accepted_s > self._patience_s
