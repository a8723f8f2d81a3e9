"""The five dashboards.

What exporters tell is the same from each of them: it is their maximum that is shown, so that a second one does no harm.
"""

from __future__ import annotations

from typing import Final

from ops.generate.panels import WINDOW, Board, Variable, lines, mean, quantile, rate, stat

_T: Final = 'tenant=~"$tenant"'
_K: Final = 'token=~"$token"'
_I: Final = 'instance=~"$instance"'

OVERVIEW: Final = Board(
    name="overview",
    title="Sigmill / Overview",
    rows={
        "Now": (
            stat(
                "Signatures",
                "Released per second, of all tenants.",
                "ops",
                f"sum(rate(sigmill_signatures_total[{WINDOW}]))",
            ),
            stat(
                "Job time p99",
                "From enqueued to published.",
                "s",
                quantile(0.99, "sigmill_objective_seconds"),
            ),
            stat(
                "Oldest backlog",
                "The age of the oldest job whose turn is next.",
                "s",
                "max(sigmill_backlog_age_seconds) or vector(0)",
            ),
            stat(
                "Backlog",
                "Digests that were accepted and have not ended.",
                "digests",
                "sum(max by (tenant) (sigmill_backlog_digests)) or vector(0)",
            ),
            stat("Workers ready", "Those that can claim and sign.", "short", "sum(sigmill_worker_ready)"),
            stat(
                "Circuits open",
                "Tokens that a worker leaves alone.",
                "short",
                "sum(sigmill_token_circuit_open > bool 0) or vector(0)",
            ),
            stat(
                "Dead letters",
                "Jobs that were set aside.",
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
                "The share of jobs that spends of it, over the last hour; 1 is as fast as the month allows.",
                "short",
                (
                    "sigmill:objective_errors:ratio_rate1h / on (class, objective) sigmill:objective_budget:ratio",
                    "{{class}} {{objective}}",
                ),
            ),
            lines(
                "Job time by class",
                "From enqueued to published, of good jobs.",
                "s",
                (quantile(0.5, "sigmill_objective_seconds", "class"), "{{class}} p50"),
                (quantile(0.99, "sigmill_objective_seconds", "class"), "{{class}} p99"),
            ),
        ),
        "Work": (
            lines(
                "Signatures by algorithm",
                "Released per second.",
                "ops",
                (rate("sigmill_signatures_total", "algorithm"), "{{algorithm}}"),
            ),
            lines(
                "Failures by reason",
                "Digests per second that ended without a signature.",
                "ops",
                (rate("sigmill_failures_total", "reason"), "{{reason}}"),
            ),
            lines(
                "Signatures by tenant",
                "The ten that sign most.",
                "ops",
                (f"topk(10, {rate('sigmill_signatures_total', 'tenant')})", "{{tenant}}"),
            ),
            lines(
                "Backlog by tenant",
                "The ten largest.",
                "digests",
                ("topk(10, max by (tenant) (sigmill_backlog_digests))", "{{tenant}}"),
            ),
        ),
        "Limits of the machine": (
            lines(
                "Sessions in use",
                "The share of a token's sessions that have something to sign.",
                "percentunit",
                ("sigmill:token_busy:ratio", "{{token}}"),
            ),
            lines(
                "Log sync p99",
                "Write and sync of the write-ahead log.",
                "s",
                (quantile(0.99, "sigmill_log_sync_seconds", "instance"), "{{instance}}"),
            ),
            lines(
                "Redis memory",
                "Used, and the limit.",
                "bytes",
                ("max(sigmill_redis_memory_used_bytes)", "used"),
                ("max(sigmill_redis_memory_limit_bytes)", "limit"),
            ),
        ),
    },
)

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
                "Released per second.",
                "ops",
                (rate("sigmill_signatures_total", "algorithm", _T), "{{algorithm}}"),
            ),
            lines(
                "Jobs by outcome",
                "Jobs that ended per second.",
                "ops",
                (rate("sigmill_jobs_total", "outcome", _T), "{{outcome}}"),
            ),
            lines(
                "Failures",
                "Digests per second that ended without a signature.",
                "ops",
                (rate("sigmill_failures_total", "reason", _T), "{{reason}}"),
            ),
        ),
        "Time": (
            lines(
                "Wait in the queue",
                "From enqueued to claimed.",
                "s",
                (quantile(0.5, "sigmill_queue_wait_seconds", "", _T), "p50"),
                (quantile(0.99, "sigmill_queue_wait_seconds", "", _T), "p99"),
            ),
            lines(
                "Job time",
                "From enqueued to result published.",
                "s",
                (quantile(0.5, "sigmill_job_seconds", "", _T), "p50"),
                (quantile(0.99, "sigmill_job_seconds", "", _T), "p99"),
            ),
        ),
        "Backlog and limits": (
            lines(
                "Backlog",
                "Digests accepted and not ended, and what the cap leaves.",
                "digests",
                (f"max by (tenant) (sigmill_backlog_digests{{{_T}}})", "{{tenant}}"),
                (f"max by (tenant) (sigmill_backlog_room_digests{{{_T}}})", "{{tenant}} room"),
            ),
            lines(
                "Age of the backlog",
                "Of the job whose turn is next.",
                "s",
                (f"max by (tenant) (sigmill_backlog_age_seconds{{{_T}}})", "{{tenant}}"),
            ),
            lines(
                "Refused at submit",
                "Envelopes per second, for want of room or budget.",
                "ops",
                (f"max by (tenant) (rate(sigmill_submits_refused_total{{{_T}}}[{WINDOW}]))", "{{tenant}}"),
            ),
            lines(
                "Limiter",
                "Digests let pass, and claims held back, per second.",
                "ops",
                (rate("sigmill_limiter_decisions_total", "outcome", _T), "{{outcome}}"),
            ),
            lines(
                "Budget left",
                "Of today's.",
                "digests",
                (f"min by (tenant) (sigmill_budget_left_digests{{{_T}}})", "{{tenant}}"),
            ),
        ),
        "Ends": (
            lines(
                "Certificates",
                "Days until the first certificate of a key ends.",
                "d",
                (
                    f"(min by (tenant, key) (sigmill_certificate_expiry_timestamp_seconds{{{_T}}}) - time()) / 86400",
                    "{{tenant}} {{key}}",
                ),
            ),
            lines(
                "Client keys",
                "Days until the first client key ends.",
                "d",
                (
                    f"(min by (tenant) (sigmill_client_expiry_timestamp_seconds{{{_T}}}) - time()) / 86400",
                    "{{tenant}}",
                ),
            ),
        ),
    },
)

HSM: Final = Board(
    name="hsm",
    title="Sigmill / HSM",
    variables=(Variable(label="token", series="sigmill_sessions"),),
    rows={
        "State": (
            lines(
                "Circuit",
                "0: in use; 1: left alone for a while; 2: the PIN was refused.",
                "short",
                (f"max by (instance, token) (sigmill_token_circuit_open{{{_K}}})", "{{token}} {{instance}}"),
            ),
            lines("Lanes", "Logged in.", "short", (f"sum by (token) (sigmill_lanes{{{_K}}})", "{{token}}")),
            lines(
                "Canary",
                "How long ago the token last signed its canary; of tokens in use.",
                "s",
                (
                    f"time() - max by (token) (sigmill_canary_last_success_timestamp_seconds{{{_K}}})",
                    "{{token}}",
                ),
            ),
            lines(
                "Canaries",
                "Per second, by what became of them.",
                "ops",
                (rate("sigmill_canary_runs_total", "outcome", _K), "{{outcome}}"),
            ),
            lines(
                "Lanes that ended",
                "Per second, by reason; those that were asked to are not counted.",
                "ops",
                (rate("sigmill_lane_restarts_total", "token, reason", _K), "{{token}} {{reason}}"),
            ),
        ),
        "Sessions": (
            lines(
                "Sessions",
                "Logged in, and those that have something to sign.",
                "short",
                (f"sum by (token) (sigmill_sessions{{{_K}}})", "{{token}}"),
                (f"sum by (token) (sigmill_sessions_busy{{{_K}}})", "{{token}} busy"),
            ),
            lines(
                "In use",
                "The share of sessions that have something to sign.",
                "percentunit",
                (f"sigmill:token_busy:ratio{{{_K}}}", "{{token}}"),
            ),
            lines(
                "Sessions inside the module",
                "How many were in the PKCS#11 module on average.",
                "short",
                (rate("sigmill_module_seconds_total", "token", _K), "{{token}}"),
            ),
        ),
        "Signing": (
            lines(
                "Digests",
                "Answered per second.",
                "ops",
                (rate("sigmill_chunk_digests_sum", "token", _K), "{{token}}"),
            ),
            lines(
                "Digests in a chunk",
                "The mean.",
                "digests",
                (mean("sigmill_chunk_digests", "token", _K), "{{token}}"),
            ),
            lines(
                "A chunk in its lane",
                "From its turn to its answer.",
                "s",
                (quantile(0.5, "sigmill_lane_chunk_seconds", "token", _K), "{{token}} p50"),
                (quantile(0.99, "sigmill_lane_chunk_seconds", "token", _K), "{{token}} p99"),
            ),
            lines(
                "A signature",
                "In the module, by algorithm: the mean of a chunk.",
                "s",
                (quantile(0.5, "sigmill_sign_seconds", "algorithm"), "{{algorithm}} p50"),
                (quantile(0.99, "sigmill_sign_seconds", "algorithm"), "{{algorithm}} p99"),
            ),
            lines(
                "Verifying a signature",
                "In the lane, before it is released: the mean of a chunk.",
                "s",
                (quantile(0.5, "sigmill_verify_seconds", "algorithm"), "{{algorithm}} p50"),
                (quantile(0.99, "sigmill_verify_seconds", "algorithm"), "{{algorithm}} p99"),
            ),
        ),
    },
)

QUEUE: Final = Board(
    name="queue",
    title="Sigmill / Queue",
    rows={
        "Redis": (
            stat("Redis", "1: it answers the exporter.", "bool", "min(sigmill_redis_up)"),
            stat(
                "Restarts",
                "In the last hour; a failover is one.",
                "short",
                "max(increase(sigmill_redis_restarts_total[1h]))",
            ),
            lines(
                "Memory",
                "Used, and the limit.",
                "bytes",
                ("max(sigmill_redis_memory_used_bytes)", "used"),
                ("max(sigmill_redis_memory_limit_bytes)", "limit"),
            ),
            lines(
                "Errors",
                "Round trips that failed, per second.",
                "ops",
                (rate("sigmill_redis_errors_total", "operation"), "{{operation}}"),
            ),
            lines(
                "A survey",
                "How long the exporter's look at all queues took: the mean.",
                "s",
                (mean("sigmill_survey_seconds", "instance"), "{{instance}}"),
            ),
        ),
        "What stands in it": (
            lines(
                "Jobs",
                "Due, and leased.",
                "short",
                ("sum by (state) (max by (tenant, state) (sigmill_queue_jobs))", "{{state}}"),
            ),
            lines(
                "Backlog",
                "Digests, the ten largest.",
                "digests",
                ("topk(10, max by (tenant) (sigmill_backlog_digests))", "{{tenant}}"),
            ),
            lines(
                "Age",
                "Of the job whose turn is next, the ten oldest.",
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
                "Jobs that were set aside.",
                "short",
                "sum(max by (tenant) (sigmill_dead_letters)) or vector(0)",
            ),
            stat(
                "Caps astray",
                "Tenants whose caps in Redis are tighter than configured.",
                "short",
                "sum(max by (tenant) (sigmill_limits_astray)) or vector(0)",
            ),
        ),
        "Claims": (
            lines(
                "Jobs in a claim",
                "The mean, of those that were not empty.",
                "short",
                (mean("sigmill_claimed_jobs", "instance"), "{{instance}}"),
            ),
            lines(
                "Digests in a job",
                "The mean.",
                "digests",
                (mean("sigmill_job_digests", "instance"), "{{instance}}"),
            ),
            lines(
                "Leases",
                "Extended and lost, jobs per second.",
                "ops",
                (rate("sigmill_lease_events_total", "event"), "{{event}}"),
            ),
            stat(
                "Fenced commits",
                "In the last hour: late workers whose commit was refused.",
                "short",
                "sum(increase(sigmill_commits_fenced_total[1h])) or vector(0)",
            ),
        ),
    },
)

WORKER: Final = Board(
    name="worker",
    title="Sigmill / Worker",
    variables=(Variable(label="instance", series="sigmill_worker_ready"),),
    rows={
        "State": (
            lines(
                "Ready",
                "1: it can claim, and a lane can sign.",
                "bool",
                (f"sigmill_worker_ready{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "In flight",
                "Jobs that it has leased.",
                "short",
                (f"sigmill_jobs_in_flight{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "Claimed",
                "Digests per second.",
                "ops",
                (rate("sigmill_claimed_digests_total", "instance", _I), "{{instance}}"),
            ),
            lines(
                "Signatures",
                "Released per second.",
                "ops",
                (rate("sigmill_signatures_total", "instance", _I), "{{instance}}"),
            ),
            lines(
                "Build",
                "What runs.",
                "short",
                (
                    f"max by (instance, version, python) (sigmill_build_info{{{_I}}})",
                    "{{instance}} {{version}}, Python {{python}}",
                ),
            ),
        ),
        "Log": (
            lines(
                "Sync",
                "Write and sync of the write-ahead log.",
                "s",
                (quantile(0.5, "sigmill_log_sync_seconds", "instance", _I), "{{instance}} p50"),
                (quantile(0.99, "sigmill_log_sync_seconds", "instance", _I), "{{instance}} p99"),
            ),
            lines(
                "Lag",
                "The oldest record that waits for the disk.",
                "s",
                (f"sigmill_log_lag_seconds{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "Failing",
                "1: it cannot be written, and nothing is signed.",
                "bool",
                (f"sigmill_log_failing{{{_I}}}", "{{instance}}"),
            ),
        ),
        "Process": (
            lines(
                "Loop lag",
                "How late the loop came to its last tick.",
                "s",
                (f"sigmill_event_loop_lag_seconds{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "CPU",
                "Cores, of the worker without its lanes.",
                "short",
                (f'rate(process_cpu_seconds_total{{job="sigmill-worker",{_I}}}[{WINDOW}])', "{{instance}}"),
            ),
            lines(
                "Memory",
                "Resident.",
                "bytes",
                (f'process_resident_memory_bytes{{job="sigmill-worker",{_I}}}', "{{instance}}"),
            ),
            lines(
                "Open files",
                "And sockets.",
                "short",
                (f'process_open_fds{{job="sigmill-worker",{_I}}}', "{{instance}}"),
            ),
        ),
        "Configuration": (
            lines("Tenants", "In its configuration.", "short", (f"sigmill_tenants{{{_I}}}", "{{instance}}")),
            lines(
                "Reloads",
                "In the last hour, by how they went.",
                "short",
                (
                    f"sum by (instance, outcome) (increase(sigmill_config_reloads_total{{{_I}}}[1h]))",
                    "{{instance}} {{outcome}}",
                ),
            ),
            lines(
                "Directories",
                "Key directories published in the last hour.",
                "short",
                (
                    f"sum by (instance, outcome) (increase(sigmill_directories_published_total{{{_I}}}[1h]))",
                    "{{instance}} {{outcome}}",
                ),
            ),
        ),
    },
)

BOARDS: Final = (OVERVIEW, TENANT, HSM, QUEUE, WORKER)
