"""Dashboard of Redis and the queues in it."""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.panels import WINDOW, Board, lines, mean, rate, stat

QUEUE: Final = Board(
    name="queue",
    title="Sigmill / Queue",
    rows={
        "Redis": (
            stat("Redis", "1: Redis answers the exporter.", "bool", "min(sigmill_redis_up)"),
            stat(
                "Restarts",
                "Restarts and failovers in the last hour.",
                "short",
                "max(increase(sigmill_redis_restarts_total[1h]))",
            ),
            lines(
                "Memory",
                "Used memory and the limit.",
                "bytes",
                ("max(sigmill_redis_memory_used_bytes)", "used"),
                ("max(sigmill_redis_memory_limit_bytes)", "limit"),
            ),
            lines(
                "Errors",
                "Failed round trips per second.",
                "ops",
                (rate("sigmill_redis_errors_total", "operation"), "{{operation}}"),
            ),
            lines(
                "Survey time",
                "Mean time in which the exporter reads all queues.",
                "s",
                (mean("sigmill_survey_seconds", "instance"), "{{instance}}"),
            ),
        ),
        "Queues": (
            lines(
                "Jobs",
                "Ready and leased jobs.",
                "short",
                ("sum by (state) (max by (tenant, state) (sigmill_queue_jobs))", "{{state}}"),
            ),
            lines(
                "Backlog",
                "Digests, the ten largest backlogs.",
                "digests",
                ("topk(10, max by (tenant) (sigmill_backlog_digests))", "{{tenant}}"),
            ),
            lines(
                "Age",
                "Age of the job that is next in the queue, the ten oldest.",
                "s",
                ("topk(10, max by (tenant) (sigmill_backlog_age_seconds))", "{{tenant}}"),
            ),
            lines(
                "Submitted and claimed",
                "Digests per second.",
                "ops",
                (f"sum(max by (tenant) (rate(sigmill_submitted_digests_total[{WINDOW}])))", "submitted"),
                (f"sum(rate(sigmill_claimed_digests_total[{WINDOW}]))", "claimed"),
            ),
            lines(
                "Refused at submit",
                "Envelopes per second.",
                "ops",
                (f"max by (tenant) (rate(sigmill_submits_refused_total[{WINDOW}]))", "{{tenant}}"),
            ),
            stat(
                "Dead letters",
                "Jobs kept as dead letters.",
                "short",
                "sum(max by (tenant) (sigmill_dead_letters)) or vector(0)",
            ),
            stat(
                "Stale caps",
                "Tenants whose caps in Redis are tighter than configured.",
                "short",
                "sum(max by (tenant) (sigmill_limits_astray)) or vector(0)",
            ),
        ),
        "Claims": (
            lines(
                "Jobs per claim",
                "Mean of the claims that were not empty.",
                "short",
                (mean("sigmill_claimed_jobs", "instance"), "{{instance}}"),
            ),
            lines(
                "Digests per job",
                "Mean.",
                "digests",
                (mean("sigmill_job_digests", "instance"), "{{instance}}"),
            ),
            lines(
                "Leases",
                "Leases extended and lost per second.",
                "ops",
                (rate("sigmill_lease_events_total", "event"), "{{event}}"),
            ),
            stat(
                "Fenced commits",
                "Commits refused in the last hour because the worker had lost the lease.",
                "short",
                "sum(increase(sigmill_commits_fenced_total[1h])) or vector(0)",
            ),
        ),
    },
)
