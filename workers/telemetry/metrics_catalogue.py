"""Every metric there is, declared once: those of a worker, and those of the exporter.

Base units; labels from closed sets, nothing of a single job. Tenants, keys and tokens in labels come from the
configuration; reasons from the closed set of ``queueing.errors``. ``docs/reference/metrics.md`` is written from
here (``make generate``).
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
"""From one idle round trip to an outage; 0.5 s, 2 s and 120 s are objectives (``ops/generate/objectives.py``)."""

SIGN_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0)
"""From P-256 in software (60 us) to a network HSM in trouble."""

SYNC_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0)
COUNT_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ProcessMetrics(MetricTable):
    """What worker and exporter both have."""

    build_info = gauge("build_info", "1; what runs here.", "process", "version", "python")
    redis_errors = counter("redis_errors", "Round trips to Redis that failed.", "operation")
    tenants = gauge("tenants", "Tenants in the configuration.")
    config_reloads = counter("config_reloads", "Reloads of the configuration.", "outcome")


class WorkerMetrics(ProcessMetrics):
    """Served by ``sigmill worker``."""

    # From the queue
    ready = gauge("worker_ready", "1 while this worker can claim and a lane can sign, as /readyz says.")
    event_loop_lag_seconds = gauge(
        "event_loop_lag_seconds", "How late the worker's loop came to its last tick, of two in a second."
    )
    claimed_digests = counter_of("claimed_digests", "Digests taken from the queue.", "tenant")
    claimed_jobs = histogram("claimed_jobs", "Jobs in a claim that was not empty.", COUNT_BOUNDS)
    job_digests = histogram("job_digests", "Digests in a job that was claimed.", COUNT_BOUNDS)
    queue_wait_seconds = histogram_of(
        "queue_wait_seconds", "From enqueued to claimed.", "tenant", LATENCY_BOUNDS_S
    )
    in_flight = gauge("jobs_in_flight", "Jobs that this worker has leased.")
    lease_events = counter(
        "lease_events", "Jobs whose lease was extended, or lost to another owner or to time.", "event"
    )
    limiter = counter_of(
        "limiter_decisions",
        "Digests that a tenant's limits let pass (granted), and claims that they held back, by limit.",
        "tenant",
        "outcome",
    )
    keys_replaced = counter_of(
        "redis_keys_replaced",
        "Keys of ours that held a foreign type, and members of a queue that are no job of its tenant; they were removed.",
        "tenant",
    )

    # In the lanes
    lanes = gauge_of("lanes", "Lanes that are logged in.", "token")
    lane_restarts = counter_of(
        "lane_restarts", "Lanes that ended without being asked, or never came to be.", "token", "reason"
    )
    circuit_open = gauge_of(
        "token_circuit_open", "1 while the token is left alone (2: a PIN was refused).", "token"
    )
    token_drained = gauge_of(
        "token_drained", "1 while an operator has the token take no more work on this host.", "token"
    )
    sessions = gauge_of("sessions", "Sessions that are logged in.", "token")
    sessions_busy = gauge_of("sessions_busy", "Sessions that have something to sign.", "token")
    chunk_digests = histogram_of("chunk_digests", "Digests in a chunk.", "token", COUNT_BOUNDS)
    lane_seconds = histogram_of(
        "lane_chunk_seconds", "From a chunk's turn in its lane to its answer.", "token", LATENCY_BOUNDS_S
    )
    module_seconds = counter_of(
        "module_seconds", "Time that sessions spent in the PKCS#11 module, as the lane measured it.", "token"
    )
    sign_seconds = histogram_of(
        "sign_seconds", "A signature in the PKCS#11 module: the mean of a chunk.", "algorithm", SIGN_BOUNDS_S
    )
    verify_seconds = histogram_of(
        "verify_seconds",
        "Verifying a signature in the lane: the mean of a chunk.",
        "algorithm",
        SIGN_BOUNDS_S,
    )

    # In the log
    log_sync_seconds = histogram("log_sync_seconds", "Write and sync of the write-ahead log.", SYNC_BOUNDS_S)
    log_lag_seconds = gauge(
        "log_lag_seconds", "How long the oldest record that is not on the disk has waited for it."
    )
    log_failing = gauge("log_failing", "1 while the write-ahead log cannot be written: nothing is signed.")
    log_bytes = gauge("log_bytes", "What the segments of the write-ahead log take on the disk.")

    # Canaries
    canary_runs = counter_of("canary_runs", "Canaries, by what became of them.", "token", "outcome")
    canary_last_success = ranked(
        "canary_last_success_timestamp_seconds",
        "When the token last signed its canary, and the key of the longest ago (Unix time; 0: never). "
        "Not there while no lane of it is needed.",
        "token",
    )

    # What became of it
    signatures = counter_of("signatures", "Signatures released.", "tenant", "algorithm")
    failures = counter_of(
        "failures", "Digests that ended without a signature.", "tenant", "algorithm", "reason"
    )
    jobs = counter_of("jobs", "Jobs that ended, by what became of them.", "tenant", "outcome")
    job_seconds = histogram_of(
        "job_seconds", "From enqueued to result published.", "tenant", LATENCY_BOUNDS_S
    )
    objective_jobs = counter(
        "objective_jobs",
        "Jobs that ended, by class of tenant: good where signed or refused for what they asked, bad where we failed.",
        "class",
        "result",
    )
    objective_seconds = histogram(
        "objective_seconds", "From enqueued to result published, of good jobs.", LATENCY_BOUNDS_S, "class"
    )
    returned = counter_of("jobs_returned", "Jobs given back to the queue unsigned.", "tenant", "reason")
    fenced = counter_of("commits_fenced", "Commits that another owner's lease refused.", "tenant")

    # Directories and orders
    directories = counter("directories_published", "Key directories published.", "outcome")
    orders = gauge("stop_orders", "Stop orders known, lifted ones included.")
    orders_refused = counter(
        "stop_orders_refused", "Stop orders that no operator of ours signed for this cluster.", "reason"
    )


class QueueMetrics(ProcessMetrics):
    """Served by ``sigmill exporter``: what stands in Redis, once for the whole cluster.

    The gauges by tenant name the hundred with the oldest backlog; the rest is summed up under ``other``, and of ages
    it is the greatest.
    """

    redis_up = gauge("redis_up", "1 where Redis answered the last survey.")
    redis_memory_used_bytes = gauge("redis_memory_used_bytes", "Memory that Redis uses.")
    redis_memory_limit_bytes = gauge("redis_memory_limit_bytes", "Redis' maxmemory; 0: none.")
    redis_restarts = counter(
        "redis_restarts",
        "Times that Redis was another process than at the survey before: restarted, or failed over.",
    )
    survey_seconds = histogram("survey_seconds", "A look at all tenants' queues.", LATENCY_BOUNDS_S)
    survey_timestamp_seconds = gauge(
        "survey_timestamp_seconds", "When the last survey succeeded (Unix time)."
    )
    submitted = counter_of("submitted_digests", "Digests that were accepted into the queue.", "tenant")
    refused = counter_of(
        "submits_refused", "Envelopes refused at submit: the backlog or the budget was full.", "tenant"
    )
    queue_jobs = ranked(
        "queue_jobs", "Jobs in the queue: due (ready), or leased and due later.", "tenant", "state"
    )
    backlog = ranked("backlog_digests", "Accepted and not ended.", "tenant")
    backlog_room = ranked("backlog_room_digests", "What the backlog's cap leaves.", "tenant")
    backlog_age_seconds = ranked(
        "backlog_age_seconds", "How long the job whose turn is next has waited since its submit.", "tenant"
    )
    budget_left = ranked("budget_left_digests", "What is left of the day's budget.", "tenant")
    limits_astray = ranked(
        "limits_astray", "1 while the caps in Redis are tighter than those of the configuration.", "tenant"
    )
    dead_letters = ranked("dead_letters", "Jobs that were given up, kept for an operator to see.", "tenant")
    certificate_expiry = ranked(
        "certificate_expiry_timestamp_seconds",
        "When the first of the active versions' certificates ends, or the version itself (Unix time).",
        "tenant",
        "key",
    )
    client_expiry = ranked(
        "client_expiry_timestamp_seconds", "When the tenant's first client key ends (Unix time).", "tenant"
    )
