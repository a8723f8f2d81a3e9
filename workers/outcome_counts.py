"""What a round of results adds to the metrics: summed first, so that a metric is touched once per round."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from queueing.claims import Committed
from workers.metrics import algorithm_label, reason_label
from workers.series import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workers.job_in_work import JobInWork
    from workers.metrics import Metrics


def count_outcomes(results: Iterable[tuple[JobInWork, Committed]], metrics: Metrics) -> None:
    """Count signatures, failures and jobs of one round, and observe how long each job took."""
    jobs: Counter[tuple[str, str]] = Counter()
    signatures: Counter[tuple[str, str]] = Counter()
    failures: Counter[tuple[str, str, str]] = Counter()
    took_s: dict[str, list[float]] = {}
    now_s = time.time()
    for job, committed in results:
        tenant = job.claimed.tenant
        if committed is Committed.FENCED:
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
        took_s.setdefault(tenant, []).append(max(now_s - job.enqueued_at_ms / 1000, 0.0))
    for job_labels, count in jobs.items():
        metrics.jobs.labels(*job_labels).inc(count)
    for signed_labels, count in signatures.items():
        metrics.signatures.labels(*signed_labels).inc(count)
    for failed_labels, count in failures.items():
        metrics.failures.labels(*failed_labels).inc(count)
    for tenant, times_s in took_s.items():
        observe = metrics.job_seconds.labels(tenant).observe
        for time_s in times_s:
            observe(time_s)
