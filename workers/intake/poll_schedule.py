"""Which tenants are looked at although no bell rang: stock arq producers ring none, and bells can be lost.

Pure: no clock, no I/O. Those that had work lately are looked at each time, the others a few at a time, in turn: with
5,000 tenants configured a look costs Redis as much as with 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

OTHERS_AT_ONCE: Final = 100
LATELY_LOOKS: Final = 60
"""So many looks after its last job a tenant is one of the others again."""


class PollSchedule:
    """The looks of one worker."""

    def __init__(self, tenants: Callable[[], Collection[str]]) -> None:
        self._tenants = tenants
        self._lately: dict[str, int] = {}
        self._after = ""

    def had_work(self, tenant: str) -> None:
        """The tenant had a job just now."""
        self._lately[tenant] = LATELY_LOOKS

    def next(self) -> list[str]:
        """The tenants of this look."""
        tenants = self._tenants()
        self._lately = {t: left - 1 for t, left in self._lately.items() if left > 0 and t in tenants}
        others = sorted(t for t in tenants if t not in self._lately)
        behind = [t for t in others if t > self._after]
        chosen = (behind + others)[: min(OTHERS_AT_ONCE, len(others))]
        self._after = chosen[-1] if chosen else ""
        return [*self._lately, *chosen]
