"""Dashboard of the cluster: objectives, work and utilisation at a glance."""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.panels import WINDOW, Board, lines, quantile, rate, stat

OVERVIEW: Final = Board(
    name="overview",
    title="Sigmill / Overview",
    rows={
        "Now": (
            stat(
                "Signatures",
                "Signatures released per second, all tenants.",
                "ops",
                f"sum(rate(sigmill_signatures_total[{WINDOW}]))",
            ),
            stat(
                "Job time p99",
                "From submit to published result.",
                "s",
                quantile(0.99, "sigmill_objective_seconds"),
            ),
            stat(
                "Oldest backlog",
                "Age of the oldest job that is next in its tenant's queue.",
                "s",
                "max(sigmill_backlog_age_seconds) or vector(0)",
            ),
            stat(
                "Backlog",
                "Digests accepted and not yet finished.",
                "digests",
                "sum(max by (tenant) (sigmill_backlog_digests)) or vector(0)",
            ),
            stat("Workers ready", "Workers that can claim and sign.", "short", "sum(sigmill_worker_ready)"),
            stat(
                "Circuits open",
                "Tokens whose circuit breaker is open on a host.",
                "short",
                "sum(sigmill_token_circuit_open > bool 0) or vector(0)",
            ),
            stat(
                "Dead letters",
                "Jobs kept as dead letters.",
                "short",
                "sum(max by (tenant) (sigmill_dead_letters)) or vector(0)",
            ),
            stat(
                "Alerts",
                "Firing now.",
                "short",
                'count(ALERTS{alertname=~"Sigmill.*",alertstate="firing"}) or vector(0)',
            ),
        ),
        "Objectives": (
            lines(
                "Errors against the budget",
                "Burn rate of the error budget over the last hour; 1 spends exactly the month's budget.",
                "short",
                (
                    "sigmill:objective_errors:ratio_rate1h / on (class, objective) sigmill:objective_budget:ratio",
                    "{{class}} {{objective}}",
                ),
            ),
            lines(
                "Job time by class",
                "From submit to published result, good jobs only.",
                "s",
                (quantile(0.5, "sigmill_objective_seconds", "class"), "{{class}} p50"),
                (quantile(0.99, "sigmill_objective_seconds", "class"), "{{class}} p99"),
            ),
        ),
        "Work": (
            lines(
                "Signatures by algorithm",
                "Signatures released per second.",
                "ops",
                (rate("sigmill_signatures_total", "algorithm"), "{{algorithm}}"),
            ),
            lines(
                "Failures by reason",
                "Digests per second that failed.",
                "ops",
                (rate("sigmill_failures_total", "reason"), "{{reason}}"),
            ),
            lines(
                "Signatures by tenant",
                "The ten tenants with the highest signing rate.",
                "ops",
                (f"topk(10, {rate('sigmill_signatures_total', 'tenant')})", "{{tenant}}"),
            ),
            lines(
                "Backlog by tenant",
                "The ten largest backlogs.",
                "digests",
                ("topk(10, max by (tenant) (sigmill_backlog_digests))", "{{tenant}}"),
            ),
        ),
        "Utilisation": (
            lines(
                "Sessions in use",
                "Share of a token's sessions that are busy.",
                "percentunit",
                ("sigmill:token_busy:ratio", "{{token}}"),
            ),
            lines(
                "Log sync p99",
                "Time to write and sync the write-ahead log.",
                "s",
                (quantile(0.99, "sigmill_log_sync_seconds", "instance"), "{{instance}}"),
            ),
            lines(
                "Redis memory",
                "Used memory and the limit.",
                "bytes",
                ("max(sigmill_redis_memory_used_bytes)", "used"),
                ("max(sigmill_redis_memory_limit_bytes)", "limit"),
            ),
        ),
    },
)
