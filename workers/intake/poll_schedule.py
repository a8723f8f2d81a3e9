"""Schedule of the slow poll, which finds jobs that no doorbell announced: stock arq producers ring none.

Pure: no clock, no I/O. Tenants that had work lately are polled each time, the others a few at a time, in turn: with
5,000 tenants configured a poll costs Redis as much as with 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

OTHERS_AT_ONCE: Final = 100
RECENT_POLLS: Final = 60
"""After its last job a tenant is in this many polls; then it is one of the others again."""


class PollSchedule:
    """Polls of one worker."""

    def __init__(self) -> None:
        self._recent: dict[str, int] = {}
        self._after = ""

    def had_work(self, tenant: str) -> None:
        """The tenant had a job just now."""
        self._recent[tenant] = RECENT_POLLS

    def next(self, tenants: Collection[str]) -> list[str]:
        """The tenants to poll now, of those that are configured."""
        self._recent = {t: left - 1 for t, left in self._recent.items() if left > 0 and t in tenants}
        others = sorted(t for t in tenants if t not in self._recent)
        behind = [t for t in others if t > self._after]
        chosen = (behind + others)[: min(OTHERS_AT_ONCE, len(others))]
        self._after = chosen[-1] if chosen else ""
        return [*self._recent, *chosen]
