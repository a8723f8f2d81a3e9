"""Alerts on workers: write-ahead log, record, state on disk, clock, readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.generate.prometheus.alert import TENANT_BOARD, WORKER_BOARD, Alert
from ops.generate.prometheus.objectives import HOUR_S, MINUTE_S

if TYPE_CHECKING:
    from ops.generate.prometheus.clock import Clock


def worker_alerts(clock: Clock) -> list[Alert]:
    """Alerts, with the durations of this clock."""
    w = clock.window
    return [
        Alert(
            name="SigmillLogFailing",
            severity="page",
            expr="max by (instance) (sigmill_log_failing) == 1",
            wait_s=MINUTE_S / 2,
            summary="A worker cannot write its write-ahead log: it signs and releases nothing.",
            description="Worker {{ $labels.instance }}.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillLogShareUsed",
            severity="page",
            expr="max by (instance, tenant) (sigmill_log_share_used_ratio) > 0.8",
            wait_s=0,
            summary="A tenant has filled most of its share of a log's disk; above its share it is paused there.",
            description="Tenant {{ $labels.tenant }} on {{ $labels.instance }}: {{ $value | humanizePercentage }} today.",
            dashboard=TENANT_BOARD,
        ),
        Alert(
            name="SigmillLogDamaged",
            severity="ticket",
            expr="max by (instance) (sigmill_log_damage) > 0\nor\nmax by (instance) (sigmill_grants_uncounted) > 0",
            wait_s=MINUTE_S / 2,
            summary="A worker's write-ahead log is damaged, or could not be read at its start: records of it are lost.",
            description="Worker {{ $labels.instance }}; `sigmill audit status` lists the places.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillRecordLagging",
            severity="ticket",
            expr="max by (instance) (sigmill_record_lag_seconds) > 30",
            wait_s=2 * MINUTE_S,
            summary="The record does not keep up: what a host signs is on no signed checkpoint.",
            description="Worker {{ $labels.instance }}: for {{ $value | humanizeDuration }}.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillRecordDamaged",
            severity="ticket",
            expr="max by (instance) (sigmill_record_damage) > 0",
            wait_s=MINUTE_S / 2,
            summary="A file of the record is damaged on a host's disk: restore it from a copy while there is one.",
            description="Worker {{ $labels.instance }}: {{ $value }} places; `sigmill audit status` lists them.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillRecordUncertified",
            severity="ticket",
            expr="max by (instance) (sigmill_record_uncertified) > 0",
            wait_s=10 * MINUTE_S,
            summary="The service key has not certified the key that signs a host's checkpoints: receipts wait for it.",
            description="Worker {{ $labels.instance }}: the logs of {{ $value }} tenants.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillRecordSkipped",
            severity="ticket",
            expr="sum by (instance) (increase(sigmill_record_failures_total"
            f'{{reason=~"unexpected|later|unreadable"}}[{w(HOUR_S)}])) > 0',
            wait_s=0,
            summary="The sealer skipped something of a write-ahead log: it is in no entry of the record, or not whole.",
            description="Worker {{ $labels.instance }}: {{ $value | humanize }} places in an hour.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillRecordReplaced",
            severity="page",
            expr="max by (instance) (sigmill_record_former) > 0\nor\nmax by (instance) (sigmill_record_lost) > 0",
            wait_s=0,
            summary="A record was damaged or set back and given up for a new one, or it was lost with the whole `state_dir`.",
            description="Worker {{ $labels.instance }}: {{ $value }} records, former ones in its `state_dir` or lost ones.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillStateNotDurable",
            severity="ticket",
            expr="max by (instance) (sigmill_config_not_remembered) > 0\nor\n"
            "max by (instance) (sigmill_stop_orders_not_kept) > 0",
            wait_s=2 * MINUTE_S,
            summary="What a worker has in force is not on its disk: a restart could reinstate what was revoked.",
            description="Worker {{ $labels.instance }}: {{ $value }} configuration files or stop orders.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillConfigBehind",
            severity="ticket",
            expr="max by (instance) (sigmill_config_behind) > 0",
            wait_s=10 * MINUTE_S,
            summary="A worker has an older file of a tenant than another host: it refuses jobs that the cluster signs.",
            description="Worker {{ $labels.instance }}: the files of {{ $value }} tenants.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillClockSetBack",
            severity="ticket",
            expr="sum by (instance) (increase(sigmill_jobs_returned_total"
            f'{{reason="clock.set_back"}}[{w(10 * MINUTE_S)}])) > 0',
            wait_s=0,
            summary="A worker's host leaves jobs unsigned for now because its clock was set.",
            description="Worker {{ $labels.instance }}: {{ $value | humanize }} jobs were returned in ten minutes.",
            dashboard=WORKER_BOARD,
        ),
        Alert(
            name="SigmillClockDiffers",
            severity="ticket",
            expr="max by (instance) (abs(sigmill_clock_ahead_seconds)) > 30",
            wait_s=MINUTE_S,
            summary="The clocks of a worker's host and of Redis differ.",
            description="Worker {{ $labels.instance }}: by {{ $value | humanizeDuration }}.",
            dashboard=WORKER_BOARD,
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
            dashboard=WORKER_BOARD,
        ),
    ]
