"""Alerts on Redis, and on the exporter that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.alert import Alert
from ops.generate.prometheus.objectives import MINUTE_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


def redis_alerts(clock: Clock) -> list[Alert]:
    """Alerts, with the durations of this clock."""
    w = clock.window
    return [
        Alert(
            name="SigmillRedisDown",
            severity="page",
            expr="max by (instance) (sigmill_redis_up) == 0",
            wait_s=MINUTE_S,
            summary="Redis does not answer the exporter: no job is accepted, claimed or published.",
            description="Reported by {{ $labels.instance }}.",
            dashboard="queue",
        ),
        Alert(
            name="SigmillRedisRestarted",
            severity="ticket",
            expr=f"max by (instance) (increase(sigmill_redis_restarts_total[{w(15 * MINUTE_S)}])) > 0",
            wait_s=0,
            summary="Redis restarted or failed over.",
            description="Reported by {{ $labels.instance }}; accepted jobs may be lost.",
            dashboard="queue",
        ),
        Alert(
            name="SigmillRedisMemoryFull",
            severity="page",
            expr="max by (instance) (sigmill_redis_memory_used_bytes / (sigmill_redis_memory_limit_bytes > 0)) > 0.85",
            wait_s=5 * MINUTE_S,
            summary="Redis uses more than 85 % of its memory; at 100 % it refuses submits and results.",
            description="{{ $value | humanizePercentage }} of maxmemory is used.",
            dashboard="queue",
        ),
        Alert(
            name="SigmillExporterSilent",
            severity="ticket",
            expr=f"absent(sigmill_survey_timestamp_seconds)\nor\n"
            f"time() - max(sigmill_survey_timestamp_seconds) > {clock.threshold(2 * MINUTE_S)}",
            wait_s=5 * MINUTE_S,
            summary="The exporter is down; backlog and expiry alerts cannot fire.",
            description="No exporter is scraped, or its surveys fail.",
            dashboard="queue",
        ),
    ]
