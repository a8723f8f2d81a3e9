"""Isolation of suspect jobs: those over which worker after worker crashed. Pure: no clock, no I/O.

A suspect is claimed while its tenant has no other job here, so that no other job is blamed for the next crash. Other
tenants are not held up: otherwise a tenant that plants suspects could stop the whole worker.
"""

from __future__ import annotations

from collections import Counter


class SuspectIsolation:
    """Number of jobs of each tenant in this worker, and the tenants that wait for their last one."""

    def __init__(self) -> None:
        self._active: Counter[str] = Counter()
        self._waiting: set[str] = set()

    def began(self, tenant: str) -> None:
        """A job of the tenant was claimed."""
        self._active[tenant] += 1

    def settled(self, tenant: str) -> None:
        """A job of the tenant was published or returned; the last one ends the wait."""
        self._active[tenant] -= 1
        if not self._active[tenant]:
            del self._active[tenant]
            self._waiting.discard(tenant)

    def is_idle(self, tenant: str) -> bool:
        """Whether the tenant has no job here, so that a suspect of it may be claimed."""
        return tenant not in self._active

    def wait(self, tenant: str) -> None:
        """Claim nothing for the tenant until it has no job here."""
        if tenant in self._active:
            self._waiting.add(tenant)

    def is_waiting(self, tenant: str) -> bool:
        """Whether nothing may be claimed for the tenant now."""
        return tenant in self._waiting
