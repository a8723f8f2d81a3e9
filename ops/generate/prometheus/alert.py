"""Alert rule as data, and the dashboards that alerts link to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TENANT_BOARD: Final = "tenant?var-tenant={{ $labels.tenant }}"
TOKEN_BOARD: Final = "hsm?var-token={{ $labels.token }}"  # noqa: S105 - a dashboard
WORKER_BOARD: Final = "worker?var-instance={{ $labels.instance }}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Alert rule. ``runbook``: name of the page if it is not the alert's own; ``dashboard``: its name and variables."""

    name: str
    severity: Literal["page", "ticket"]
    expr: str
    wait_s: float
    summary: str
    description: str
    runbook: str = ""
    dashboard: str = "overview"

    @property
    def page(self) -> str:
        """Name of the runbook."""
        return self.runbook or self.name
