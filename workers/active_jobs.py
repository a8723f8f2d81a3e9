"""Register of the jobs that a worker has claimed and not settled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from queueing.aio.events import wait_for

if TYPE_CHECKING:
    from queueing.broker.claims import ClaimedJob
    from workers.active_job import ActiveJob


class ActiveJobs:
    """Register of the jobs that this worker has claimed and not settled: those whose leases it extends."""

    def __init__(self) -> None:
        self._jobs: set[ActiveJob] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: ActiveJob) -> None:
        """Register a job that was claimed."""
        self._jobs.add(job)
        self._empty.clear()

    def remove(self, job: ActiveJob) -> None:
        """Forget a job that is settled; its lease is not extended any more."""
        self._jobs.discard(job)
        if not self._jobs:
            self._empty.set()

    def claimed(self) -> list[ClaimedJob]:
        """The leases to extend. Any thread may ask: copying a set is one step under the GIL."""
        return [job.claimed for job in tuple(self._jobs)]

    def tenants(self) -> set[str]:
        """The tenants that have a job here."""
        return {job.claimed.tenant for job in self._jobs}

    async def until_empty(self, timeout_s: float) -> bool:
        """Wait until every job is settled; False when that takes longer than ``timeout_s``."""
        return not self._jobs or await wait_for(self._empty, timeout_s)
