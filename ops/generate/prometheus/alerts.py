"""Symptom alerts, each with its texts and its runbook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ops.generate.prometheus.objectives import DAY_S, HOUR_S, MINUTE_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


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


_TENANT = "tenant?var-tenant={{ $labels.tenant }}"
_TOKEN = "hsm?var-token={{ $labels.token }}"  # noqa: S105 - a dashboard


def symptoms(clock: Clock) -> list[Alert]:
    """All symptom alerts, with the durations of this clock."""
    return [
        *_of_tenants(clock),
        *_of_tokens(clock),
        *_of_processes(clock),
        *_of_issuers(clock),
        *_of_relays(clock),
        *_of_https(clock),
        *_of_expiries(clock),
    ]


def _of_tenants(clock: Clock) -> list[Alert]:
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
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillTenantThrottled",
            severity="ticket",
            expr=f"max by (tenant) (rate(sigmill_submits_refused_total[{w(5 * MINUTE_S)}])) > 0",
            wait_s=5 * MINUTE_S,
            summary="A tenant's submits are refused because they exceed its backlog cap or its budget.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanize }} envelopes per second are refused.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillCapsStale",
            severity="ticket",
            expr="max by (tenant) (sigmill_limits_astray) == 1",
            wait_s=2 * MINUTE_S,
            summary="The caps in Redis are tighter than the configuration: submits are refused that it allows.",
            description="Tenant {{ $labels.tenant }}: a worker publishes outdated caps, or another program writes them.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillDeadLetters",
            severity="ticket",
            expr="max by (tenant) (sigmill_dead_letters) > 0",
            wait_s=MINUTE_S,
            summary="Jobs became dead letters because lanes or workers crashed repeatedly while processing them.",
            description="Tenant {{ $labels.tenant }}: {{ $value }} dead letters.",
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
            summary="The circuit breaker of a token is open on a host: its lanes fail.",
            description="Token {{ $labels.token }} on {{ $labels.instance }}.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillPinRefused",
            severity="page",
            # The worker reconnects to a host-started lane every few seconds and is refused again; the gauge is 0 between.
            expr=f"max by (instance, token) (max_over_time(sigmill_token_circuit_open[{w(2 * MINUTE_S)}])) == 2",
            wait_s=0,
            summary="A token refused its PIN; the PIN is not tried again until an operator resumes the token.",
            description="Token {{ $labels.token }} on {{ $labels.instance }}.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillLanesRestarting",
            severity="ticket",
            expr=f"sum by (token) (increase(sigmill_lane_restarts_total[{w(10 * MINUTE_S)}])) > 3",
            wait_s=0,
            summary="Lane processes of a token exit and restart repeatedly.",
            description="Token {{ $labels.token }}: {{ $value | humanize }} restarts in ten minutes.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillHsmSaturated",
            severity="ticket",
            expr=f"avg_over_time(sigmill:token_busy:ratio[{w(15 * MINUTE_S)}]) > 0.9",
            wait_s=5 * MINUTE_S,
            summary="The sessions of a token have been busy for 15 minutes: it signs at its maximum rate.",
            description="Token {{ $labels.token }}: {{ $value | humanizePercentage }} of its sessions are busy.",
            dashboard=_TOKEN,
        ),
        Alert(
            name="SigmillCanaryFailing",
            severity="page",
            expr="time() - max by (token) (sigmill_canary_last_success_timestamp_seconds)"
            f" > {clock.threshold(5 * MINUTE_S)}",
            wait_s=MINUTE_S,
            summary="A token has not signed its canary for five minutes.",
            description="Token {{ $labels.token }}: the last success was {{ $value | humanizeDuration }} ago.",
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
            summary="A worker cannot write its write-ahead log: it signs and releases nothing.",
            description="Worker {{ $labels.instance }}.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillLogShareUsed",
            severity="page",
            expr="max by (instance, tenant) (sigmill_log_share_used_ratio) > 0.8",
            wait_s=0,
            summary="A tenant has filled most of its share of a log's disk; above its share it is paused there.",
            description="Tenant {{ $labels.tenant }} on {{ $labels.instance }}: {{ $value | humanizePercentage }} today.",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillLogDamaged",
            severity="ticket",
            expr="max by (instance) (sigmill_log_damage) > 0",
            wait_s=MINUTE_S / 2,
            summary="A worker's write-ahead log is damaged: records of it are lost.",
            description="Worker {{ $labels.instance }}, {{ $value }} damaged places.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillRecordLagging",
            severity="ticket",
            expr="max by (instance) (sigmill_record_lag_seconds) > 30",
            wait_s=2 * MINUTE_S,
            summary="The record does not keep up: what a host signs is on no signed checkpoint.",
            description="Worker {{ $labels.instance }}: for {{ $value | humanizeDuration }}.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillRecordReplaced",
            severity="page",
            expr="max by (instance) (sigmill_record_former) > 0",
            wait_s=0,
            summary="A record was damaged or set back, and was given up for a new one.",
            description="Worker {{ $labels.instance }}: {{ $value }} former records in its `state_dir`.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillStateNotDurable",
            severity="ticket",
            expr="max by (instance) (sigmill_config_not_remembered) > 0\nor\n"
            "max by (instance) (sigmill_stop_orders_not_kept) > 0",
            wait_s=2 * MINUTE_S,
            summary="What a worker has in force is not on its disk: a restart could reinstate what was revoked.",
            description="Worker {{ $labels.instance }}: {{ $value }} configuration files or stop orders.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillClockSetBack",
            severity="ticket",
            expr="sum by (instance) (increase(sigmill_jobs_returned_total"
            f'{{reason="clock.set_back"}}[{w(10 * MINUTE_S)}])) > 0',
            wait_s=0,
            summary="A worker's host leaves jobs unsigned for now because its clock was set.",
            description="Worker {{ $labels.instance }}: {{ $value | humanize }} jobs were returned in ten minutes.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillClockDiffers",
            severity="ticket",
            expr="max by (instance) (abs(sigmill_clock_ahead_seconds)) > 30",
            wait_s=MINUTE_S,
            summary="The clocks of a worker's host and of Redis differ.",
            description="Worker {{ $labels.instance }}: by {{ $value | humanizeDuration }}.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
        Alert(
            name="SigmillNoWorkerReady",
            severity="page",
            expr="(sum(sigmill_worker_ready) or vector(0)) == 0",
            wait_s=MINUTE_S,
            summary="No worker of the cluster is ready: nothing is signed.",
            description="No worker answers, or none of them can claim and sign.",
            dashboard="worker",
        ),
        Alert(
            name="SigmillWorkerDown",
            severity="ticket",
            expr='up{job="sigmill-worker"} == 0',
            wait_s=2 * MINUTE_S,
            summary="Prometheus cannot scrape a worker.",
            description="Worker {{ $labels.instance }}; other workers take over its jobs.",
            dashboard="worker?var-instance={{ $labels.instance }}",
        ),
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


def _of_issuers(clock: Clock) -> list[Alert]:
    w = clock.window
    judged = 'sigmill_grants_total{outcome!~"checked|malformed|unavailable",provider!="unknown"}'
    refused = 'sigmill_grants_total{outcome!~"issued|checked|malformed|unavailable",provider!="unknown"}'
    return [
        Alert(
            name="SigmillIssuerDown",
            severity="page",
            expr='max by (instance) (sigmill_issuer_lane_up) == 0\nor\nmax by (instance) (up{job="sigmill-issuer"}) == 0',
            wait_s=2 * MINUTE_S,
            summary="The issuer gives no grants: builds without one cannot sign.",
            description="Issuer {{ $labels.instance }}.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillProviderKeysOld",
            severity="ticket",
            expr=f"time() - max by (provider) (sigmill_provider_keys_timestamp_seconds) > {clock.threshold(HOUR_S)}",
            wait_s=5 * MINUTE_S,
            summary="The public keys of a provider of tokens were not fetched for an hour.",
            description="Provider {{ $labels.provider }}: for {{ $value | humanizeDuration }}.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillGrantsRefused",
            severity="ticket",
            expr=f"sum by (provider) (rate({refused}[{w(15 * MINUTE_S)}]))\n"
            f"/\nsum by (provider) (rate({judged}[{w(15 * MINUTE_S)}])) > 0.5\n"
            f"and\nsum by (provider) (increase({refused}[{w(15 * MINUTE_S)}])) >= 10",
            wait_s=10 * MINUTE_S,
            summary="The issuer refuses more than half of the requests for grants of a provider's builds.",
            description="Provider {{ $labels.provider }}: {{ $value | humanizePercentage }}; the issuer's log names rule and claim.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillTokenReplayed",
            severity="ticket",
            expr=f'sum by (provider) (increase(sigmill_grants_total{{outcome="replayed"}}[{w(10 * MINUTE_S)}])) > 0',
            wait_s=0,
            summary="A build's token was shown with a second key: it was stolen, or a build uses one twice.",
            description="Provider {{ $labels.provider }}: {{ $value | humanize }} times in ten minutes.",
            dashboard="edge",
        ),
    ]


def _of_relays(clock: Clock) -> list[Alert]:
    w = clock.window
    return [
        Alert(
            name="SigmillRelayDown",
            severity="ticket",
            expr='up{job="sigmill-relay"} == 0',
            wait_s=2 * MINUTE_S,
            summary="Prometheus cannot scrape a relay.",
            description="Relay {{ $labels.instance }}; its clients go to other relays, or wait.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillRelayNearlyFull",
            severity="ticket",
            expr="sigmill_relay_waiting_clients / sigmill_relay_waiting_clients_limit > 0.8",
            wait_s=10 * MINUTE_S,
            summary="A relay has nearly as many waiting clients as it may.",
            description="Relay {{ $labels.instance }}: {{ $value | humanizePercentage }}; at the limit it sheds.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillRelayShedding",
            severity="ticket",
            expr=f'sum by (instance, cause) (rate(sigmill_relay_shed_total{{cause!="draining"}}[{w(5 * MINUTE_S)}])) > 0',
            wait_s=5 * MINUTE_S,
            summary="A relay has too much in hand and tells clients to come later.",
            description="Relay {{ $labels.instance }}, cause {{ $labels.cause }}: {{ $value | humanize }} per second.",
            dashboard="edge",
        ),
    ]


def _of_https(clock: Clock) -> list[Alert]:
    w = clock.window
    reloads = "sigmill_https_certificate_reloads_total"
    return [
        Alert(
            name="SigmillConnectionsRefused",
            severity="ticket",
            expr=f"rate(sigmill_https_connections_refused_total[{w(5 * MINUTE_S)}]) > 0",
            wait_s=5 * MINUTE_S,
            summary="A relay or an issuer closes connections, because it has too many.",
            description="{{ $labels.job }} {{ $labels.instance }}: {{ $value | humanize }} per second.",
            dashboard="edge",
        ),
        Alert(
            name="SigmillServerCertificateRefused",
            severity="ticket",
            expr=f'increase({reloads}{{result="refused"}}[{w(HOUR_S)}]) > 0\n'
            f'unless on (instance)\nincrease({reloads}{{result="adopted"}}[{w(HOUR_S)}]) > 0',
            wait_s=5 * MINUTE_S,
            summary="A relay or an issuer refuses its changed certificate files and uses the old ones, which will expire.",
            description="{{ $labels.job }} {{ $labels.instance }}.",
            dashboard="edge",
        ),
    ]


def _of_expiries(clock: Clock) -> list[Alert]:
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
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillCertificateExpiringSoon",
            severity="page",
            expr=f"{certificate} < {3 * DAY_S}",
            wait_s=HOUR_S,
            summary="A certificate of an active or next key version expires within three days.",
            description="Key {{ $labels.key }} of tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }} left.",
            runbook="SigmillCertificateExpiring",
            dashboard=_TENANT,
        ),
        Alert(
            name="SigmillClientKeyExpiring",
            severity="ticket",
            expr=f"min by (tenant) (sigmill_client_expiry_timestamp_seconds) - time() < {14 * DAY_S}",
            wait_s=HOUR_S,
            summary="A tenant's client key expires within fourteen days.",
            description="Tenant {{ $labels.tenant }}: {{ $value | humanizeDuration }} left.",
            dashboard=_TENANT,
        ),
    ]
