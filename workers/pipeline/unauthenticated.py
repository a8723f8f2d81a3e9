"""Jobs that were refused before a client of their tenant was established: counted and sampled, not recorded one by one.

Everybody who can write to a tenant's queue can make such jobs without limit. A record of each would fill the log's disk,
and then no tenant of the host signs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from queueing.unix_time import unix_ms
from workers.journal.event_records import UnauthenticatedRecord
from workers.telemetry import job_log
from workers.telemetry.metrics import reason_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.active_job import ActiveJob
    from workers.journal.journal import WriteAheadLog
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.release")

REPORT_S: Final = 60.0
"""Shortest time between two log lines of one tenant."""


class UnauthenticatedJobs:
    """Counts and reports them."""

    def __init__(
        self, metrics: Metrics, wal: WriteAheadLog, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = metrics
        self._wal = wal
        self._now_s = now_s
        self._unreported: dict[str, Counter[str]] = {}
        self._unrecorded: dict[str, Counter[str]] = {}
        self._reported_at: dict[str, float] = {}

    def record(self, job: ActiveJob) -> None:
        """Count a refused job; at most one log line per tenant and ``REPORT_S``, with one job as an example."""
        tenant, failure, now_s = job.claimed.tenant, job.failure, self._now_s()
        if failure is None:
            return
        reason = reason_label(failure.reason)
        self._metrics.unauthenticated_jobs.labels(tenant, reason).inc()
        counts = self._unreported.setdefault(tenant, Counter())
        counts[reason] += 1
        self._unrecorded.setdefault(tenant, Counter())[reason] += 1
        if now_s < self._reported_at.get(tenant, float("-inf")) + REPORT_S:
            return
        self._reported_at[tenant] = now_s
        del self._unreported[tenant]
        log.warning(
            "jobs.unauthenticated",
            extra={"tenant": tenant, "reasons": dict(counts), "job_id": job_log.name_of(job.job_id)},
        )

    async def run(self) -> None:
        """Record the counts every ``REPORT_S`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(REPORT_S)
            self.record_counts()

    def record_counts(self) -> None:
        """Append one record to the log for each tenant with such jobs since its last record; nothing waits for it."""
        unrecorded, self._unrecorded = self._unrecorded, {}
        at_ms = unix_ms()
        records = [
            UnauthenticatedRecord(at_ms, tenant, dict(counts)) for tenant, counts in unrecorded.items()
        ]
        if records:
            self._wal.append_nowait(records)
