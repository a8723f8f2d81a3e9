"""Catalogue of all metrics of worker and exporter.

Base units; labels from closed sets, none from a single job. Tenants, keys and tokens in labels come from the
configuration; reasons from the closed set of ``queueing.errors``. ``make generate`` writes ``docs/reference/metrics.md`` from here.
"""

from __future__ import annotations

from typing import Final

from workers.telemetry.metric_declarations import (
    MetricTable,
    counter,
    counter_of,
    gauge,
    gauge_of,
    histogram,
    histogram_of,
    ranked,
)

LATENCY_BOUNDS_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 600.0),
)
"""From an idle round trip to an outage; 0.5 s, 2 s and 120 s are objectives (``ops/generate/prometheus/objectives.py``)."""

SIGN_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0)
"""From P-256 in software (60 us) to an overloaded network HSM."""

SYNC_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
COUNT_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ProcessMetrics(MetricTable):
    """Metrics of both worker and exporter."""

    build_info = gauge(
        "build_info", "Always 1; version and interpreter of the process.", "process", "version", "python"
    )
    redis_errors = counter("redis_errors", "Failed round trips to Redis.", "operation")
    tenants = gauge("tenants", "Tenants in the configuration.")
    config_reloads = counter("config_reloads", "Reloads of the configuration, by outcome.", "outcome")
    log_lines_dropped = counter(
        "log_lines_dropped",
        "Log lines that were not written because stderr is not read, or cannot be written.",
    )
    http_connections = counter(
        "http_connections",
        "Closed connections to this port, by outcome; other than answered: port scans, TLS, silent connections.",
        "outcome",
    )


class WorkerMetrics(ProcessMetrics):
    """Metrics of ``sigmill worker``."""

    # Queue
    ready = gauge(
        "worker_ready",
        "1 while the worker can claim jobs and at least one lane can sign, as /readyz reports.",
    )
    clock_ahead_seconds = gauge(
        "clock_ahead_seconds", "Time by which the host's clock is ahead of Redis'; negative: behind."
    )
    event_loop_lag_seconds = gauge("event_loop_lag_seconds", "Delay of the last 0.5 s event-loop heartbeat.")
    claimed_digests = counter_of("claimed_digests", "Digests claimed from the queue.", "tenant")
    claimed_jobs = histogram("claimed_jobs", "Jobs per non-empty claim.", COUNT_BOUNDS)
    job_digests = histogram("job_digests", "Digests per claimed job.", COUNT_BOUNDS)
    queue_wait_seconds = histogram_of(
        "queue_wait_seconds", "Time from enqueue to claim.", "tenant", LATENCY_BOUNDS_S
    )
    in_flight = gauge("jobs_in_flight", "Jobs leased by this worker.")
    lease_events = counter(
        "lease_events", "Jobs whose lease was extended, or lost to another worker or by expiry.", "event"
    )
    limiter = counter_of(
        "limiter_decisions",
        "Digests that a tenant's limits granted (outcome granted), and claims that a limit held back (outcome: the limit).",
        "tenant",
        "outcome",
    )
    keys_replaced = counter_of(
        "redis_keys_replaced",
        "Redis keys of the wrong type, and queue members that are not jobs of the tenant, that were deleted.",
        "tenant",
    )
    values_damaged = counter(
        "redis_values_damaged",
        "Values in Redis outside the tenants' queues that could not be read, and were skipped or removed.",
        "source",
    )

    # Lanes
    lanes = gauge_of("lanes", "Lanes that are logged in to the token.", "token")
    lane_restarts = counter_of(
        "lane_restarts", "Lane processes that exited unexpectedly or failed to start.", "token", "reason"
    )
    circuit_open = gauge_of(
        "token_circuit_open",
        "Circuit breaker: 0 closed, 1 open, 2 open because the PIN was rejected.",
        "token",
    )
    key_missing = gauge_of(
        "key_missing", "Keys that the token's lanes looked for last without finding them.", "token"
    )
    token_drained = gauge_of(
        "token_drained", "1 while the token is drained on this host by an operator.", "token"
    )
    sessions = gauge_of("sessions", "PKCS#11 sessions that are logged in.", "token")
    sessions_busy = gauge_of("sessions_busy", "PKCS#11 sessions that are signing.", "token")
    chunk_digests = histogram_of("chunk_digests", "Digests per chunk sent to a lane.", "token", COUNT_BOUNDS)
    lane_seconds = histogram_of(
        "lane_chunk_seconds",
        "Time from a chunk's turn in its lane to the lane's answer.",
        "token",
        LATENCY_BOUNDS_S,
    )
    module_seconds = counter_of(
        "module_seconds", "Time that sessions spent in the PKCS#11 module, measured by the lane.", "token"
    )
    sign_seconds = histogram_of(
        "sign_seconds",
        "Time per signature in the PKCS#11 module, averaged over a chunk.",
        "algorithm",
        SIGN_BOUNDS_S,
    )
    verify_seconds = histogram_of(
        "verify_seconds",
        "Time per verification of a signature in the lane, averaged over a chunk.",
        "algorithm",
        SIGN_BOUNDS_S,
    )

    # Write-ahead log
    log_sync_seconds = histogram(
        "log_sync_seconds", "Duration of a write and fsync of the write-ahead log.", SYNC_BOUNDS_S
    )
    log_lag_seconds = gauge(
        "log_lag_seconds", "Age of the oldest record that waits for its fsync to the write-ahead log."
    )
    log_failing = gauge(
        "log_failing", "1 while the write-ahead log cannot be written, or recovered; nothing is signed."
    )
    log_bytes = gauge("log_bytes", "Disk space used by the segments of the write-ahead log.")
    log_written_bytes = counter_of(
        "log_written_bytes", "Bytes that a tenant's jobs have added to the write-ahead log.", "tenant"
    )
    log_share_used_ratio = gauge_of(
        "log_share_used_ratio",
        "Part of its share of the log's disk that a tenant's records of this day (UTC) take; above 1 its jobs are not claimed "
        "here. Of tenants that have taken a hundredth of it; of those in `other` the largest.",
        "tenant",
    )
    log_damage = gauge(
        "log_damage",
        "Damaged places in segments of the write-ahead log, as the start and the scrubber found them.",
    )
    log_scrubbed_bytes = counter(
        "log_scrubbed_bytes", "Bytes of closed segments that the scrubber has read again."
    )

    # Record
    record_lag_seconds = gauge(
        "record_lag_seconds",
        "Time since everything in the write-ahead log was under signed checkpoints of the record; 0 without a record.",
    )
    record_entries = counter_of("record_entries", "Entries added to the record.", "tenant")
    record_checkpoints = counter("record_checkpoints", "Checkpoints of the record that were signed.")
    record_bytes = gauge("record_bytes", "Disk space used by the record; measured every ten minutes.")
    record_oldest_timestamp_seconds = gauge(
        "record_oldest_timestamp_seconds",
        "Unix time of the oldest entry of the record that is there; 0 without one. Looked up every hour.",
    )
    record_uncertified = gauge(
        "record_uncertified",
        "Tenants whose checkpoints are signed with a key that the service key has not certified yet.",
    )
    record_former = gauge("record_former", "Records that were given up: they were damaged or set back.")
    record_lost = gauge("record_lost", "Records of this host that are lost: see the log event `record.lost`.")
    record_damage = gauge("record_damage", "Damaged places of the record's files; 100 at most.")
    record_scrubbed_entries = counter("record_scrubbed_entries", "Record entries that were read again.")
    record_failures = counter(
        "record_failures",
        "Interruptions of the sealing of the record, records that it skipped (`unexpected`), those of a later version (`later`) or that the disk does not give (`unreadable`), receipts that were dropped (`receipt`), heads in Redis that are none of the service's (`head`), and records that are older copies (`set_back`), by reason.",
        "reason",
    )

    # Canaries
    canary_runs = counter_of("canary_runs", "Canary signatures, by outcome.", "token", "outcome")
    canary_last_success = ranked(
        "canary_last_success_timestamp_seconds",
        "Unix time of the token's last successful canary; of several keys the oldest; 0: never. "
        "Absent while the token needs no lane.",
        "token",
    )

    # Results
    signatures = counter_of("signatures", "Signatures released.", "tenant", "algorithm")
    failures = counter_of("failures", "Digests that failed, by reason.", "tenant", "algorithm", "reason")
    jobs = counter_of("jobs", "Finished jobs, by outcome.", "tenant", "outcome")
    grant_jobs = counter_of(
        "grant_jobs", "Finished jobs under grants.", "tenant", "issuer", "outcome", named=2
    )
    grants_verified = counter_of(
        "grants_verified", "New grants of valid signature.", "tenant", "issuer", named=2
    )
    grants_uncounted = gauge(
        "grants_uncounted", "1 while grants from before the start are refused: the log was not read whole."
    )
    job_seconds = histogram_of(
        "job_seconds", "Time from enqueue to published result.", "tenant", LATENCY_BOUNDS_S
    )
    objective_jobs = counter(
        "objective_jobs",
        "Finished jobs by tenant class: good when signed or rightly refused, bad when the service failed.",
        "class",
        "result",
    )
    objective_seconds = histogram(
        "objective_seconds", "Time from enqueue to published result, of good jobs.", LATENCY_BOUNDS_S, "class"
    )
    returned = counter_of(
        "jobs_returned", "Jobs returned to the queue unsigned, by reason.", "tenant", "reason"
    )
    unauthenticated_jobs = counter_of(
        "unauthenticated_jobs",
        "Jobs refused before a client of the tenant was established, by reason; the log has no record of most.",
        "tenant",
        "reason",
    )
    fenced = counter_of(
        "commits_fenced", "Results refused because another worker holds the job's lease.", "tenant"
    )

    # Directories and orders
    directories = counter("directories_published", "Publications of key directories, by outcome.", "outcome")
    config_behind = gauge("config_behind", "Tenants of which another host has a newer file than this worker.")
    config_not_remembered = gauge(
        "config_not_remembered",
        "Configuration files in force whose copy could not be written to this host's disk; it is tried again.",
    )
    orders = gauge("stop_orders", "Known stop orders, including lifted ones.")
    orders_not_kept = gauge(
        "stop_orders_not_kept",
        "Stop orders in force that could not be written to this host's disk; it is tried again.",
    )
    orders_refused = counter(
        "stop_orders_refused",
        "Stop orders refused because no configured operator signed them for this cluster.",
        "reason",
    )


class QueueMetrics(ProcessMetrics):
    """Metrics of ``sigmill exporter``: the queues in Redis, once for the whole cluster.

    Gauges by tenant name the hundred tenants with the oldest backlog; the others are added up under ``other``, of ages
    the maximum.
    """

    redis_up = gauge("redis_up", "1 if Redis answered the last survey of the queues.")
    redis_memory_used_bytes = gauge("redis_memory_used_bytes", "Memory used by Redis.")
    redis_memory_limit_bytes = gauge("redis_memory_limit_bytes", "maxmemory of Redis; 0: unlimited.")
    redis_restarts = counter("redis_restarts", "Restarts and failovers of Redis that the exporter has seen.")
    survey_seconds = histogram(
        "survey_seconds", "Duration of a survey of all tenants' queues.", LATENCY_BOUNDS_S
    )
    survey_timestamp_seconds = gauge("survey_timestamp_seconds", "Unix time of the last successful survey.")
    submitted = counter_of("submitted_digests", "Digests accepted into the queue.", "tenant")
    refused = counter_of(
        "submits_refused",
        "Envelopes refused at submit because a backlog cap or the budget was reached.",
        "tenant",
    )
    queue_jobs = ranked("queue_jobs", "Jobs in the queue: ready, or leased by a worker.", "tenant", "state")
    backlog = ranked("backlog_digests", "Digests accepted and not finished.", "tenant")
    backlog_room = ranked("backlog_room_digests", "Digests that the backlog cap still allows.", "tenant")
    backlog_age_seconds = ranked(
        "backlog_age_seconds", "Time since submit of the next job to be claimed.", "tenant"
    )
    budget_left = ranked("budget_left_digests", "Digests left in the daily budget.", "tenant")
    limits_astray = ranked(
        "limits_astray", "1 while the caps published in Redis are tighter than the configuration.", "tenant"
    )
    dead_letters = ranked(
        "dead_letters", "Dead letters: jobs that were given up and are kept for an operator.", "tenant"
    )
    certificate_expiry = ranked(
        "certificate_expiry_timestamp_seconds",
        "Unix time at which the first certificate in the chains of the key's active and next versions, or a version itself, expires.",
        "tenant",
        "key",
    )
    client_expiry = ranked(
        "client_expiry_timestamp_seconds",
        "Unix time at which the tenant's first client key, or issuer of grants, expires.",
        "tenant",
    )
