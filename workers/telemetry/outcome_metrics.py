"""What a round of results adds to the metrics: summed first, so that a metric is touched once per round."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from queueing.broker.claims import CommitStatus
from queueing.errors import (
    HsmFault,
    JobExpired,
    JobPoisoned,
    LogUnavailable,
    QueueUnavailable,
    ResultInvalid,
    TokenUnavailable,
)
from queueing.protocol.jobs import JobOutcome, decode_result
from workers.telemetry.metrics import algorithm_label, reason_label
from workers.telemetry.series_budget import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workers.active_job import ActiveJob
    from workers.journal.records import OutcomeRecord
    from workers.telemetry.metrics import Metrics


_OURS: Final = frozenset(
    error.reason
    for error in (
        JobExpired,
        JobPoisoned,
        ResultInvalid,
        TokenUnavailable,
        HsmFault,
        LogUnavailable,
        QueueUnavailable,
    )
)
"""Reasons that are the service's failures: what a request asks for, and what its tenant's limits say, are not."""


def count_outcomes(
    results: Iterable[tuple[ActiveJob, CommitStatus]], metrics: Metrics, class_of: Callable[[str], str]
) -> None:
    """Count signatures, failures and jobs of one round, and observe how long each job took; ``class_of`` a tenant."""
    jobs: Counter[tuple[str, str]] = Counter()
    signatures: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, str, str]] = Counter()
    took_s: dict[str, list[float]] = {}
    bad: Counter[str] = Counter()
    good_s: dict[str, list[float]] = {}
    now_s = time.time()
    for job, committed in results:
        tenant = job.claimed.tenant
        if committed is CommitStatus.FENCED:
            jobs[tenant, "fenced"] += 1
            metrics.fenced.labels(tenant).inc()
            continue
        algorithm = algorithm_label(job.envelope.algorithm) if job.envelope is not None else OTHER
        if job.failure is not None:
            reason = reason_label(job.failure.reason)
            jobs[tenant, reason] += 1
            failures[tenant, algorithm, reason] += job.digests
        else:
            jobs[tenant, "done"] += 1
            signatures[tenant, algorithm] += job.digests - len(job.errors)
            for note in job.errors.values():
                failures[tenant, algorithm, reason_label(note.code)] += 1
        job_s = max(now_s - job.enqueued_at_ms / 1000, 0.0)
        took_s.setdefault(tenant, []).append(job_s)
        if _is_our_failure(job):
            bad[class_of(tenant)] += 1
        else:
            good_s.setdefault(class_of(tenant), []).append(job_s)
    for job_labels, count in jobs.items():
        metrics.jobs.labels(*job_labels).inc(count)
    for signed_labels, count in signatures.items():
        metrics.signatures.labels(*signed_labels).inc(count)
    for failed_labels, count in failures.items():
        metrics.failures.labels(*failed_labels).inc(count)
    for tenant, times_s in took_s.items():
        _each(metrics.job_seconds.labels(tenant).observe, times_s)
    for tenant_class, count in bad.items():
        metrics.objective_jobs.labels(tenant_class, "bad").inc(count)
    for tenant_class, times_s in good_s.items():
        metrics.objective_jobs.labels(tenant_class, "good").inc(len(times_s))
        _each(metrics.objective_seconds.labels(tenant_class).observe, times_s)


def _is_our_failure(job: ActiveJob) -> bool:
    """Whether the job spends of its class' error budget; one digest that we failed spoils it."""
    if job.failure is not None:
        return job.failure.reason in _OURS
    return any(note.code in _OURS for note in job.errors.values())


def _each(observe: Callable[[float], None], times_s: Iterable[float]) -> None:
    for time_s in times_s:
        observe(time_s)


def count_recovered(results: Iterable[tuple[OutcomeRecord, CommitStatus]], metrics: Metrics) -> None:
    """Count what a former process signed and this one released; not what that one had released itself."""
    for outcome, committed in results:
        if committed is CommitStatus.FENCED:
            metrics.fenced.labels(outcome.tenant).inc()
            metrics.jobs.labels(outcome.tenant, "fenced").inc()
        elif committed is CommitStatus.COMMITTED:
            _count_released(outcome, metrics)


def _count_released(outcome: OutcomeRecord, metrics: Metrics) -> None:
    tenant, ended = outcome.tenant, decode_result(outcome.result).outcome
    if isinstance(ended, JobOutcome):
        algorithm = algorithm_label(ended.algorithm)
        metrics.jobs.labels(tenant, "done").inc()
        metrics.signatures.labels(tenant, algorithm).inc(len(ended.signatures) - len(ended.errors))
        for note in ended.errors.values():
            metrics.failures.labels(tenant, algorithm, reason_label(note.code)).inc()
    else:
        metrics.jobs.labels(tenant, reason_label(ended.reason)).inc()
