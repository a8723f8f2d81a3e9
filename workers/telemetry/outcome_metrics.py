"""Metrics of published results, summed up first: each metric is touched once per round of commits."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
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
"""Reasons that are failures of the service; wrong requests and reached limits are not."""


@dataclass(slots=True)
class _Totals:
    """Sums of one round, by labels."""

    jobs: Counter[tuple[str, str]] = field(default_factory=Counter)
    signatures: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    granted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    fenced: Counter[str] = field(default_factory=Counter)
    took_s: dict[str, list[float]] = field(default_factory=dict)
    bad: Counter[str] = field(default_factory=Counter)
    good_s: dict[str, list[float]] = field(default_factory=dict)

    def add_fenced(self, tenant: str) -> None:
        self.jobs[tenant, "fenced"] += 1
        self.fenced[tenant] += 1

    def add_result(self, job: ActiveJob) -> None:
        tenant = job.claimed.tenant
        algorithm = algorithm_label(job.envelope.algorithm) if job.envelope is not None else OTHER
        issuer = _issuer_of(job)
        if issuer is not None:
            self.granted[tenant, issuer, _outcome_of(job)] += 1
        if job.failure is not None:
            reason = reason_label(job.failure.reason)
            self.jobs[tenant, reason] += 1
            self.failures[tenant, algorithm, reason] += job.digests
            return
        self.jobs[tenant, "done"] += 1
        self.signatures[tenant, algorithm] += job.digests - len(job.errors)
        for error in job.errors.values():
            self.failures[tenant, algorithm, reason_label(error.code)] += 1

    def add_time(self, job: ActiveJob, job_s: float, tenant_class: str) -> None:
        self.took_s.setdefault(job.claimed.tenant, []).append(job_s)
        if _is_our_failure(job):
            self.bad[tenant_class] += 1
        else:
            self.good_s.setdefault(tenant_class, []).append(job_s)

    def add_to(self, metrics: Metrics) -> None:
        """Touch each metric once."""
        for job_labels, count in self.jobs.items():
            metrics.jobs.labels(*job_labels).inc(count)
        for signed_labels, count in self.signatures.items():
            metrics.signatures.labels(*signed_labels).inc(count)
        for failed_labels, count in self.failures.items():
            metrics.failures.labels(*failed_labels).inc(count)
        for granted_labels, count in self.granted.items():
            metrics.grant_jobs.labels(*granted_labels).inc(count)
        for tenant, count in self.fenced.items():
            metrics.fenced.labels(tenant).inc(count)
        for tenant, times_s in self.took_s.items():
            _observe_all(metrics.job_seconds.labels(tenant).observe, times_s)
        self._add_objectives_to(metrics)

    def _add_objectives_to(self, metrics: Metrics) -> None:
        for tenant_class, count in self.bad.items():
            metrics.objective_jobs.labels(tenant_class, "bad").inc(count)
        for tenant_class, times_s in self.good_s.items():
            metrics.objective_jobs.labels(tenant_class, "good").inc(len(times_s))
            _observe_all(metrics.objective_seconds.labels(tenant_class).observe, times_s)


def count_outcomes(
    results: Iterable[tuple[ActiveJob, CommitStatus]], metrics: Metrics, class_of: Callable[[str], str]
) -> None:
    """Count signatures, failures and jobs of one round, and observe the time of each job.

    ``class_of`` returns the class of a tenant.
    """
    totals = _Totals()
    now_s = time.time()
    for job, committed in results:
        tenant = job.claimed.tenant
        if committed is CommitStatus.FENCED:
            totals.add_fenced(tenant)
            continue
        totals.add_result(job)
        totals.add_time(job, max(now_s - job.enqueued_at_ms / 1000, 0.0), class_of(tenant))
    totals.add_to(metrics)


def _issuer_of(job: ActiveJob) -> str | None:
    """Issuer of the job's grant; None without a grant. A name in a grant that no issuer has signed is a stranger's word."""
    if job.grant is not None:
        return job.grant.issuer
    return OTHER if job.envelope is not None and job.envelope.grant is not None else None


def _outcome_of(job: ActiveJob) -> str:
    return "done" if job.failure is None else reason_label(job.failure.reason)


def _is_our_failure(job: ActiveJob) -> bool:
    """Whether the job counts against its class' error budget; one digest that the service failed is enough."""
    if job.failure is not None:
        return job.failure.reason in _OURS
    return any(error.code in _OURS for error in job.errors.values())


def _observe_all(observe: Callable[[float], None], times_s: Iterable[float]) -> None:
    for time_s in times_s:
        observe(time_s)


def count_recovered(results: Iterable[tuple[OutcomeRecord, CommitStatus]], metrics: Metrics) -> None:
    """Count jobs that a former process signed and this one released; those that it had released itself are counted."""
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
        for error in ended.errors.values():
            metrics.failures.labels(tenant, algorithm, reason_label(error.code)).inc()
    else:
        metrics.jobs.labels(tenant, reason_label(ended.reason)).inc()
