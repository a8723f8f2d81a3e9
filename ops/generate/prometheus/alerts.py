"""Symptom alerts, each with its texts and its runbook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.edge_alerts import edge_alerts
from ops.generate.prometheus.expiry_alerts import expiry_alerts
from ops.generate.prometheus.redis_alerts import redis_alerts
from ops.generate.prometheus.tenant_alerts import tenant_alerts
from ops.generate.prometheus.token_alerts import token_alerts
from ops.generate.prometheus.worker_alerts import worker_alerts

if TYPE_CHECKING:
    from ops.generate.prometheus.alert import Alert
    from ops.generate.prometheus.clock import Clock


def symptoms(clock: Clock) -> list[Alert]:
    """All symptom alerts, with the durations of this clock."""
    return [
        *tenant_alerts(clock),
        *token_alerts(clock),
        *worker_alerts(clock),
        *redis_alerts(clock),
        *edge_alerts(clock),
        *expiry_alerts(clock),
    ]
