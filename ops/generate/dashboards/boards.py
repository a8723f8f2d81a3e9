"""The dashboards.

All exporters report the same values, so a panel shows their maximum: a second exporter changes nothing.
"""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.edge_board import EDGE
from ops.generate.dashboards.panels import WINDOW, Board, Variable, lines, mean, quantile, rate, stat

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

HSM: Final = Board(
    name="hsm",
    title="Sigmill / HSM",
    variables=(Variable(label="token", series="sigmill_sessions"),),
    rows={
        "State": (
            lines(
                "Circuit breaker",
                "0: closed; 1: open; 2: open because the PIN was refused.",
                "short",
                (f"max by (instance, token) (sigmill_token_circuit_open{{{_K}}})", "{{token}} {{instance}}"),
            ),
            lines(
                "Lanes",
                "Lanes that are logged in.",
                "short",
                (f"sum by (token) (sigmill_lanes{{{_K}}})", "{{token}}"),
            ),
            lines(
                "Canary",
                "Time since the last successful canary, for tokens in use.",
                "s",
                (
                    f"time() - max by (token) (sigmill_canary_last_success_timestamp_seconds{{{_K}}})",
                    "{{token}}",
                ),
            ),
            lines(
                "Canaries",
                "Canaries per second, by outcome.",
                "ops",
                (rate("sigmill_canary_runs_total", "outcome", _K), "{{outcome}}"),
            ),
            lines(
                "Lane restarts",
                "Unexpected exits per second, by reason.",
                "ops",
                (rate("sigmill_lane_restarts_total", "token, reason", _K), "{{token}} {{reason}}"),
            ),
        ),
        "Sessions": (
            lines(
                "Sessions",
                "Sessions that are logged in, and those that are busy.",
                "short",
                (f"sum by (token) (sigmill_sessions{{{_K}}})", "{{token}}"),
                (f"sum by (token) (sigmill_sessions_busy{{{_K}}})", "{{token}} busy"),
            ),
            lines(
                "In use",
                "Share of the sessions that are busy.",
                "percentunit",
                (f"sigmill:token_busy:ratio{{{_K}}}", "{{token}}"),
            ),
            lines(
                "Sessions inside the module",
                "Mean number of sessions that are inside a call of the PKCS#11 module.",
                "short",
                (rate("sigmill_module_seconds_total", "token", _K), "{{token}}"),
            ),
        ),
        "Signing": (
            lines(
                "Digests",
                "Digests answered per second.",
                "ops",
                (rate("sigmill_chunk_digests_sum", "token", _K), "{{token}}"),
            ),
            lines(
                "Digests per chunk",
                "Mean.",
                "digests",
                (mean("sigmill_chunk_digests", "token", _K), "{{token}}"),
            ),
            lines(
                "Chunk time in the lane",
                "From the start of a chunk to its answer.",
                "s",
                (quantile(0.5, "sigmill_lane_chunk_seconds", "token", _K), "{{token}} p50"),
                (quantile(0.99, "sigmill_lane_chunk_seconds", "token", _K), "{{token}} p99"),
            ),
            lines(
                "Signing time",
                "Time per signature in the module, by algorithm: mean of a chunk.",
                "s",
                (quantile(0.5, "sigmill_sign_seconds", "algorithm"), "{{algorithm}} p50"),
                (quantile(0.99, "sigmill_sign_seconds", "algorithm"), "{{algorithm}} p99"),
            ),
            lines(
                "Verification time",
                "Time per verification in the lane before release: mean of a chunk.",
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

WORKER: Final = Board(
    name="worker",
    title="Sigmill / Worker",
    variables=(Variable(label="instance", series="sigmill_worker_ready"),),
    rows={
        "State": (
            lines(
                "Ready",
                "1: the worker can claim, and at least one of its lanes can sign.",
                "bool",
                (f"sigmill_worker_ready{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "In flight",
                "Jobs leased by the worker.",
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
                "Signatures released per second.",
                "ops",
                (rate("sigmill_signatures_total", "instance", _I), "{{instance}}"),
            ),
            lines(
                "Build",
                "Running versions.",
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
                "Time to write and sync the write-ahead log.",
                "s",
                (quantile(0.5, "sigmill_log_sync_seconds", "instance", _I), "{{instance}} p50"),
                (quantile(0.99, "sigmill_log_sync_seconds", "instance", _I), "{{instance}} p99"),
            ),
            lines(
                "Lag",
                "Age of the oldest record that is not yet on disk.",
                "s",
                (f"sigmill_log_lag_seconds{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "Failing, scrubbed",
                "Failing: the log cannot be written, and nothing is signed. Scrubbed: segments were read again within a day.",
                "bool",
                (f"sigmill_log_failing{{{_I}}}", "{{instance}} failing"),
                (f"increase(sigmill_log_scrubbed_bytes_total{{{_I}}}[1d]) > bool 0", "{{instance}} scrubbed"),
            ),
            lines(
                "Written by tenant",
                "Bytes that the jobs of a tenant add to the write-ahead log in a second, and growth of the record.",
                "bytes",
                (f"sum by (tenant) (rate(sigmill_log_written_bytes_total{{{_I}}}[{WINDOW}]))", "{{tenant}}"),
                (f"deriv(sigmill_record_bytes{{{_I}}}[1h])", "{{instance}} record"),
            ),
        ),
        "Record": (
            lines(
                "Record lag",
                "Time since everything in the write-ahead log was under signed checkpoints.",
                "s",
                (f"sigmill_record_lag_seconds{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "Record failures",
                "Interruptions of the sealing and dropped receipts by reason, and tenants whose keys are not certified yet.",
                "short",
                (
                    f"sum by (instance, reason) (increase(sigmill_record_failures_total{{{_I}}}[{WINDOW}]))",
                    "{{instance}} {{reason}}",
                ),
                (f"sigmill_record_uncertified{{{_I}}}", "{{instance}} uncertified"),
            ),
        ),
        "Damage and refusals": (
            lines(
                "Unauthenticated jobs",
                "Jobs refused before a client of the tenant was established, by reason.",
                "ops",
                (
                    f"sum by (tenant, reason) (rate(sigmill_unauthenticated_jobs_total{{{_I}}}[{WINDOW}])) or vector(0)",
                    "{{tenant}} {{reason}}",
                ),
            ),
            lines(
                "Damaged values",
                "Values in Redis that could not be read, by source.",
                "ops",
                (
                    f"sum by (source) (rate(sigmill_redis_values_damaged_total{{{_I}}}[{WINDOW}])) or vector(0)",
                    "{{source}}",
                ),
            ),
            lines(
                "Keys not found",
                "Keys that the lanes of a token do not find.",
                "short",
                (f"max by (token) (sigmill_key_missing{{{_I}}}) or vector(0)", "{{token}}"),
            ),
            lines(
                "Not kept on disk",
                "Configuration files and stop orders in force whose copy could not be written to the host's disk.",
                "short",
                (f"sigmill_config_not_remembered{{{_I}}}", "{{instance}} files"),
                (f"sigmill_stop_orders_not_kept{{{_I}}}", "{{instance}} stop orders"),
            ),
            lines(
                "Dropped log lines",
                "Log lines that were not written because stderr is not read.",
                "ops",
                (f"rate(sigmill_log_lines_dropped_total{{{_I}}}[{WINDOW}])", "{{instance}}"),
            ),
            lines(
                "Connections to the metrics port",
                "Closed connections by outcome.",
                "ops",
                (
                    f"sum by (outcome) (rate(sigmill_http_connections_total{{{_I}}}[{WINDOW}]))",
                    "{{outcome}}",
                ),
            ),
        ),
        "Process": (
            lines(
                "Loop lag",
                "Delay of the last event-loop heartbeat.",
                "s",
                (f"sigmill_event_loop_lag_seconds{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "Clock",
                "Time by which the host's clock is ahead of Redis'.",
                "s",
                (f"sigmill_clock_ahead_seconds{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "CPU",
                "CPU cores used by the worker, without its lanes.",
                "short",
                (f'rate(process_cpu_seconds_total{{job="sigmill-worker",{_I}}}[{WINDOW}])', "{{instance}}"),
            ),
            lines(
                "Memory",
                "Resident memory.",
                "bytes",
                (f'process_resident_memory_bytes{{job="sigmill-worker",{_I}}}', "{{instance}}"),
            ),
            lines(
                "Open files",
                "Open files and sockets.",
                "short",
                (f'process_open_fds{{job="sigmill-worker",{_I}}}', "{{instance}}"),
            ),
        ),
        "Configuration": (
            lines(
                "Tenants",
                "Tenants in the worker's configuration.",
                "short",
                (f"sigmill_tenants{{{_I}}}", "{{instance}}"),
            ),
            lines(
                "Reloads",
                "Configuration reloads in the last hour, by outcome.",
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

BOARDS: Final = (OVERVIEW, TENANT, HSM, QUEUE, WORKER, EDGE)
