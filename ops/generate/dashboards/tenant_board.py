"""Dashboard of a tenant: its work, time, backlog, limits and expiries."""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.panels import WINDOW, Board, Variable, lines, quantile, rate

_T: Final = 'tenant=~"$tenant"'

TENANT: Final = Board(
    name="tenant",
    title="Sigmill / Tenant",
    variables=(Variable(label="tenant", series="sigmill_signatures_total"),),
    rows={
        "Work": (
            lines(
                "Submitted",
                "Digests accepted per second.",
                "ops",
                (f"max by (tenant) (rate(sigmill_submitted_digests_total{{{_T}}}[{WINDOW}]))", "{{tenant}}"),
            ),
            lines(
                "Signatures",
                "Signatures released per second.",
                "ops",
                (rate("sigmill_signatures_total", "algorithm", _T), "{{algorithm}}"),
            ),
            lines(
                "Jobs by outcome",
                "Jobs finished per second.",
                "ops",
                (rate("sigmill_jobs_total", "outcome", _T), "{{outcome}}"),
            ),
            lines(
                "Failures",
                "Digests per second that failed.",
                "ops",
                (rate("sigmill_failures_total", "reason", _T), "{{reason}}"),
            ),
        ),
        "Time": (
            lines(
                "Wait in the queue",
                "From submit to claim.",
                "s",
                (quantile(0.5, "sigmill_queue_wait_seconds", "", _T), "p50"),
                (quantile(0.99, "sigmill_queue_wait_seconds", "", _T), "p99"),
            ),
            lines(
                "Job time",
                "From submit to published result.",
                "s",
                (quantile(0.5, "sigmill_job_seconds", "", _T), "p50"),
                (quantile(0.99, "sigmill_job_seconds", "", _T), "p99"),
            ),
        ),
        "Backlog and limits": (
            lines(
                "Backlog",
                "Digests accepted and not yet finished, and the free space below the cap.",
                "digests",
                (f"max by (tenant) (sigmill_backlog_digests{{{_T}}})", "{{tenant}}"),
                (f"max by (tenant) (sigmill_backlog_room_digests{{{_T}}})", "{{tenant}} free"),
            ),
            lines(
                "Age of the backlog",
                "Age of the job that is next in the queue.",
                "s",
                (f"max by (tenant) (sigmill_backlog_age_seconds{{{_T}}})", "{{tenant}}"),
            ),
            lines(
                "Refused at submit",
                "Envelopes per second refused for backlog or budget.",
                "ops",
                (f"max by (tenant) (rate(sigmill_submits_refused_total{{{_T}}}[{WINDOW}]))", "{{tenant}}"),
            ),
            lines(
                "Rate limiter",
                "Digests granted and claims delayed, per second.",
                "ops",
                (rate("sigmill_limiter_decisions_total", "outcome", _T), "{{outcome}}"),
            ),
            lines(
                "Budget left",
                "Digests left of today's budget.",
                "digests",
                (f"min by (tenant) (sigmill_budget_left_digests{{{_T}}})", "{{tenant}}"),
            ),
            lines(
                "Share of the log's disk",
                "Part of its share that the records of this day (UTC) take on a worker; above 1 the worker claims no job.",
                "percentunit",
                (
                    f"max by (instance, tenant) (sigmill_log_share_used_ratio{{{_T}}})",
                    "{{instance}} {{tenant}}",
                ),
            ),
        ),
        "Expiries": (
            lines(
                "Certificates",
                "Days until the first certificate of a key expires.",
                "d",
                (
                    f"(min by (tenant, key) (sigmill_certificate_expiry_timestamp_seconds{{{_T}}}) - time()) / 86400",
                    "{{tenant}} {{key}}",
                ),
            ),
            lines(
                "Client keys",
                "Days until the first client key expires.",
                "d",
                (
                    f"(min by (tenant) (sigmill_client_expiry_timestamp_seconds{{{_T}}}) - time()) / 86400",
                    "{{tenant}}",
                ),
            ),
        ),
    },
)
