"""Alerts on the work of a tenant: its backlog, limits and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.alert import TENANT_BOARD, Alert
from ops.generate.prometheus.objectives import MINUTE_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


def tenant_alerts(clock: Clock) -> list[Alert]:
    """Alerts, with the durations of this clock."""
    w = clock.window
    return [
        Alert(
            name="SigmillBacklogAgeHigh",
            severity="page",
            expr=f"max by (tenant) (sigmill_backlog_age_seconds) > {clock.threshold(5 * MINUTE_S)}\n"
            "unless on (tenant)\n"
            f'sum by (tenant) (rate(sigmill_limiter_decisions_total{{outcome=~"rate|budget"}}[{w(5 * MINUTE_S)}])) > 0',
            wait_s=2 * MINUTE_S,
            summary="A tenant's next job has waited for more than five minutes, and no limit of the tenant delays it.",
            description="Tenant {{ $labels.tenant }}: waiting for {{ $value | humanizeDuration }}.",
            dashboard=TENANT_BOARD,
        ),
        Alert(
            name="SigmillTenantThrottled",
            severity="ticket",
            expr=f"max by (tenant) (rate(sigmill_submits_refused_total[{w(5 * MINUTE_S)}])) > 0",
            wait_s=5 * MINUTE_S,
            summary="A tenant's submits are refused because they exceed its backlog cap or its budget.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanize }} envelopes per second are refused.",
            dashboard=TENANT_BOARD,
        ),
        Alert(
            name="SigmillCapsStale",
            severity="ticket",
            expr="max by (tenant) (sigmill_limits_astray) == 1",
            wait_s=2 * MINUTE_S,
            summary="The caps in Redis are tighter than the configuration: submits are refused that it allows.",
            description="Tenant {{ $labels.tenant }}: a worker publishes outdated caps, or another program writes them.",
            dashboard=TENANT_BOARD,
        ),
        Alert(
            name="SigmillDeadLetters",
            severity="ticket",
            expr="max by (tenant) (sigmill_dead_letters) > 0",
            wait_s=MINUTE_S,
            summary="Jobs became dead letters because lanes or workers crashed repeatedly while processing them.",
            description="Tenant {{ $labels.tenant }}: {{ $value }} dead letters.",
            dashboard=TENANT_BOARD,
        ),
    ]
