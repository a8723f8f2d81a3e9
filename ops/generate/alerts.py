"""The symptom alerts: what a person is to be told, and the page that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ops.generate.objectives import DAY_S, HOUR_S, MINUTE_S

if TYPE_CHECKING:
    from ops.generate.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """``runbook``: its page's name, where it is not the alert's own. ``dashboard``: its name and variables."""

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
        """The runbook's name."""
        return self.runbook or self.name


_TENANT = "tenant?var-tenant={{ $labels.tenant }}"
_TOKEN = "hsm?var-token={{ $labels.token }}"  # noqa: S105 - a dashboard


def symptoms(clock: Clock) -> list[Alert]:
    """All of them, by this clock."""
    return [*_of_tenants(clock), *_of_tokens(clock), *_of_processes(clock), *_of_expiries(clock)]


def _of_tenants(clock: Clock) -> list[Alert]:
    w = clock.window
    return [
        Alert(
            name="SigmillBacklogOld",
            severity="page",
            expr=f"max by (tenant) (sigmill_backlog_age_seconds) > {clock.threshold(5 * MINUTE_S)}\n"
            "unless on (tenant)\n"
            f'sum by (tenant) (rate(sigmill_limiter_decisions_total{{outcome=~"rate|budget"}}[{w(5 * MINUTE_S)}])) > 0',
            wait_s=2 * MINUTE_S,
            summary="A tenant's next job has waited for more than five minutes, and no limit of its own holds it.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }}.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillTenantFlooding",
            severity="ticket",
            expr=f"max by (tenant) (rate(sigmill_submits_refused_total[{w(5 * MINUTE_S)}])) > 0",
            wait_s=5 * MINUTE_S,
            summary="A tenant submits more than its backlog or budget has room for, and is refused.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanize }} envelopes a second are refused.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillLimitsAstray",
            severity="ticket",
            expr="max by (tenant) (sigmill_limits_astray) == 1",
            wait_s=2 * MINUTE_S,
            summary="Caps in Redis refuse a tenant what the configuration allows it.",
            description="Tenant {{ $labels.tenant }}: an old worker publishes old caps, or somebody wrote to Redis.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillDeadLetters",
            severity="ticket",
            expr="max by (tenant) (sigmill_dead_letters) > 0",
            wait_s=MINUTE_S,
            summary="Jobs were given up after they had broken their lanes.",
            description="Tenant {{ $labels.tenant }}: {{ $value }} jobs.",
            dashboard=_TENANT,
        ),
    ]


def _of_tokens(clock: Clock) -> list[Alert]:
    w = clock.window
    return [
        Alert(
            name="SigmillCircuitOpen",
            severity="page",
            expr=f"max by (instance, token) (max_over_time(sigmill_token_circuit_open[{w(MINUTE_S)}])) == 1",
            wait_s=2 * MINUTE_S,
            summary="A token cannot be used on a host: its lanes end as soon as they are started.",
            description="Token {{ $labels.token }} on {{ $labels.instance }}.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillPinRefused",
            severity="page",
            # A lane of the host's own is asked again every few seconds, and says so again: between, it is closed.
            expr=f"max by (instance, token) (max_over_time(sigmill_token_circuit_open[{w(2 * MINUTE_S)}])) == 2",
            wait_s=0,
            summary="A token refused its PIN; it is not tried again before an operator says so.",
            description="Token {{ $labels.token }} on {{ $labels.instance }}.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillLanesRestarting",
            severity="ticket",
            expr=f"sum by (token) (increase(sigmill_lane_restarts_total[{w(10 * MINUTE_S)}])) > 3",
            wait_s=0,
            summary="Lanes of a token end again and again.",
            description="Token {{ $labels.token }}: {{ $value | humanize }} in ten minutes.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillHsmSaturated",
            severity="ticket",
            expr=f"avg_over_time(sigmill:token_busy:ratio[{w(15 * MINUTE_S)}]) > 0.9",
            wait_s=5 * MINUTE_S,
            summary="The sessions of a token have been busy for a quarter of an hour: work comes as fast as it signs.",
            description="Token {{ $labels.token }}: {{ $value | humanizePercentage }} of its sessions.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillCanaryFailing",
            severity="page",
            expr="time() - max by (token) (sigmill_canary_last_success_timestamp_seconds)"
            f" > {clock.threshold(5 * MINUTE_S)}",
            wait_s=MINUTE_S,
            summary="The canary has not got a good signature from a token for five minutes.",
            description="Token {{ $labels.token }}: the last one was {{ $value | humanizeDuration }} ago.",
            dashboard=_TOKEN,
        ),
    ]


def _of_processes(clock: Clock) -> list[Alert]:
    w = clock.window
    return [
        Alert(
            name="SigmillLogFailing",
            severity="page",
            expr="max by (instance) (sigmill_log_failing) == 1",
            wait_s=MINUTE_S / 2,
            summary="A worker cannot write its write-ahead log, so it signs and releases nothing.",
            description="Worker {{ $labels.instance }}.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillNoWorkerReady",
            severity="page",
            expr="(sum(sigmill_worker_ready) or vector(0)) == 0",
            wait_s=MINUTE_S,
            summary="No worker of the cluster can claim and sign.",
            description="Nothing is signed.",
            dashboard="worker",
        ),
        Alert(
            name="SigmillWorkerDown",
            severity="ticket",
            expr='up{job="sigmill-worker"} == 0',
            wait_s=2 * MINUTE_S,
            summary="A worker does not answer.",
            description="Worker {{ $labels.instance }}; the others take its jobs over.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillRedisDown",
            severity="page",
            expr="max by (instance) (sigmill_redis_up) == 0",
            wait_s=MINUTE_S,
            summary="Redis does not answer the exporter: nothing is accepted, claimed or published.",
            description="Seen by {{ $labels.instance }}.",
            dashboard="queue",
        ),
        Alert(
            name="SigmillRedisRestarted",
            severity="ticket",
            expr=f"max by (instance) (increase(sigmill_redis_restarts_total[{w(15 * MINUTE_S)}])) > 0",
            wait_s=0,
            summary="Redis is another process than it was: it was restarted, or failed over.",
            description="Seen by {{ $labels.instance }}; what was acknowledged to clients may be gone.",
            dashboard="queue",
        ),
        Alert(
            name="SigmillRedisMemoryFull",
            severity="page",
            expr="max by (instance) (sigmill_redis_memory_used_bytes / (sigmill_redis_memory_limit_bytes > 0)) > 0.85",
            wait_s=5 * MINUTE_S,
            summary="Redis has used most of its memory; when it is full, nothing is accepted nor published.",
            description="{{ $value | humanizePercentage }} of maxmemory.",
            dashboard="queue",
        ),
        Alert(
            name="SigmillExporterSilent",
            severity="ticket",
            expr=f"absent(sigmill_survey_timestamp_seconds)\nor\n"
            f"time() - max(sigmill_survey_timestamp_seconds) > {clock.threshold(2 * MINUTE_S)}",
            wait_s=5 * MINUTE_S,
            summary="The exporter does not tell what stands in the queues: alerts on backlogs are blind.",
            description="No exporter, or its surveys fail.",
            dashboard="queue",
        ),
    ]


def _of_expiries(clock: Clock) -> list[Alert]:
    del clock  # days stay days: a drill has none
    certificate = "min by (tenant, key) (sigmill_certificate_expiry_timestamp_seconds) - time()"
    return [
        Alert(
            name="SigmillCertificateExpiring",
            severity="ticket",
            expr=f"{certificate} < {30 * DAY_S}",
            wait_s=HOUR_S,
            summary="A certificate of an active key ends within thirty days.",
            description="Key {{ $labels.key }} of {{ $labels.tenant }}: {{ $value | humanizeDuration }} are left.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillCertificateExpiringSoon",
            severity="page",
            expr=f"{certificate} < {3 * DAY_S}",
            wait_s=HOUR_S,
            summary="A certificate of an active key ends within three days.",
            description="Key {{ $labels.key }} of {{ $labels.tenant }}: {{ $value | humanizeDuration }} are left.",
            runbook="SigmillCertificateExpiring",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillClientKeyExpiring",
            severity="ticket",
            expr=f"min by (tenant) (sigmill_client_expiry_timestamp_seconds) - time() < {14 * DAY_S}",
            wait_s=HOUR_S,
            summary="A tenant's client key ends within fourteen days.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }} are left.",
            dashboard=_TENANT,
        ),
    ]
