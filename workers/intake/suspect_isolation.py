"""Which tenants have to wait until a job of theirs is done alone. Pure: no clock, no I/O.

A job whose workers ended again and again is claimed with nothing else of its tenant in work, so that no neighbour is
blamed for the next end. Other tenants are not held up: whoever could plant suspects would hold up the whole worker.
"""

from __future__ import annotations

from collections import Counter


class SuspectIsolation:
    """The tenants of one worker: how many jobs each has in work, and who waits for the last of them."""

    def __init__(self) -> None:
        self._in_work: Counter[str] = Counter()
        self._waiting: set[str] = set()

    def began(self, tenant: str) -> None:
        """One more job of the tenant is in work."""
        self._in_work[tenant] += 1

    def settled(self, tenant: str) -> None:
        """One less."""
        self._in_work[tenant] -= 1
        if not self._in_work[tenant]:
            del self._in_work[tenant]
            self._waiting.discard(tenant)

    def nothing_in_work(self, tenant: str) -> bool:
        """Whether a suspect may be claimed now."""
        return tenant not in self._in_work

    def wait(self, tenant: str) -> None:
        """Claim nothing for the tenant until nothing of it is in work."""
        if tenant in self._in_work:
            self._waiting.add(tenant)

    def is_waiting(self, tenant: str) -> bool:
        """Whether nothing may be claimed for the tenant now."""
        return tenant in self._waiting
