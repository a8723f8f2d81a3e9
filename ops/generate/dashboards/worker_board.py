"""Dashboard of a worker: jobs, write-ahead log, record, process and configuration."""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.panels import WINDOW, Board, Variable, lines, quantile, rate

_I: Final = 'instance=~"$instance"'

_RECORD_STATES: Final = "\nor\n".join(
    f'label_replace({query}, "state", "{state}", "", "")'
    for state, query in {
        "uncertified": f"sigmill_record_uncertified{{{_I}}}",
        "damaged": f"sigmill_record_damage{{{_I}}}",
        "scrubbed": f"increase(sigmill_record_scrubbed_entries_total{{{_I}}}[1d]) > bool 0",
    }.items()
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
                "Interruptions of the sealing and dropped receipts by reason; tenants whose keys are not certified yet, damaged places; 1 where entries were read again within a day.",
                "short",
                (
                    f"sum by (instance, reason) (increase(sigmill_record_failures_total{{{_I}}}[{WINDOW}]))",
                    "{{instance}} {{reason}}",
                ),
                (_RECORD_STATES, "{{instance}} {{state}}"),
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
                "Tenants in the worker's configuration, and those of which another host has a newer file.",
                "short",
                (f"sigmill_tenants{{{_I}}}", "{{instance}}"),
                (f"sigmill_config_behind{{{_I}}}", "{{instance}} behind"),
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
