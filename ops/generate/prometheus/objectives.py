"""Service level objectives by tenant class over 30 days, and the burn rates at which they alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Objective of a tenant class. ``availability``: share of jobs that the service does not fail; ``latency``: share of
    good jobs that finish ``within_s``, which must be a bucket bound of the histogram.
    """

    tenant_class: str
    availability: float
    latency: float
    within_s: float

    @property
    def bound(self) -> str:
        """``within_s`` in the form of the label ``le``."""
        return str(float(self.within_s))


OBJECTIVES: Final = (
    Objective(tenant_class="interactive", availability=0.999, latency=0.99, within_s=0.5),
    Objective(tenant_class="standard", availability=0.999, latency=0.99, within_s=2.0),
    Objective(tenant_class="bulk", availability=0.995, latency=0.99, within_s=120.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """Window pair of the SRE workbook (chapter 5, for 30 days): alert when the budget burns ``factor`` times as fast as
    allowed over both the long and the short window.
    """

    alert: str
    severity: Literal["page", "ticket"]
    long_s: int
    short_s: int
    factor: float
    spent: str


BURNS: Final = (
    Burn(
        alert="SigmillBudgetBurnHour",
        severity="page",
        long_s=HOUR_S,
        short_s=5 * MINUTE_S,
        factor=14.4,
        spent="2 %",
    ),
    Burn(
        alert="SigmillBudgetBurnSixHours",
        severity="page",
        long_s=6 * HOUR_S,
        short_s=30 * MINUTE_S,
        factor=6.0,
        spent="5 %",
    ),
    Burn(
        alert="SigmillBudgetBurnDay",
        severity="ticket",
        long_s=DAY_S,
        short_s=2 * HOUR_S,
        factor=3.0,
        spent="10 %",
    ),
    Burn(
        alert="SigmillBudgetBurnThreeDays",
        severity="ticket",
        long_s=3 * DAY_S,
        short_s=6 * HOUR_S,
        factor=1.0,
        spent="10 %",
    ),
)

WINDOWS_S: Final = tuple(sorted({window for burn in BURNS for window in (burn.long_s, burn.short_s)}))

LEAST_JOBS: Final = 20
"""Jobs that the long window must have, so that a single failure at night does not page."""
