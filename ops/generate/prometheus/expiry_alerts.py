"""Alerts on certificates and client keys that expire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.alert import TENANT_BOARD, Alert
from ops.generate.prometheus.objectives import DAY_S, HOUR_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


def expiry_alerts(clock: Clock) -> list[Alert]:
    """Alerts, with the durations of this clock."""
    del clock  # a drill does not shorten days: it lasts minutes
    certificate = "min by (tenant, key) (sigmill_certificate_expiry_timestamp_seconds) - time()"
    return [
        Alert(
            name="SigmillCertificateExpiring",
            severity="ticket",
            expr=f"{certificate} < {30 * DAY_S}",
            wait_s=HOUR_S,
            summary="A certificate of an active or next key version expires within thirty days.",
            description="Key {{ $labels.key }} of tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }} left.",
            dashboard=TENANT_BOARD,
        ),
        Alert(
            name="SigmillCertificateExpiringSoon",
            severity="page",
            expr=f"{certificate} < {3 * DAY_S}",
            wait_s=HOUR_S,
            summary="A certificate of an active or next key version expires within three days.",
            description="Key {{ $labels.key }} of tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }} left.",
            runbook="SigmillCertificateExpiring",
            dashboard=TENANT_BOARD,
        ),
        Alert(
            name="SigmillClientKeyExpiring",
            severity="ticket",
            expr=f"min by (tenant) (sigmill_client_expiry_timestamp_seconds) - time() < {14 * DAY_S}",
            wait_s=HOUR_S,
            summary="A tenant's client key expires within fourteen days.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }} left.",
            dashboard=TENANT_BOARD,
        ),
    ]
