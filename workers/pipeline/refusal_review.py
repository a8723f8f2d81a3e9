"""Review of refusals: a job that a newer file of its tenant may permit returns to the queue, for a worker that has this file.

Files reach the hosts of a cluster one after the other. Meanwhile a worker refuses what another one would sign: a new key, version,
client or issuer, a changed rule. Where a published directory shows that this worker has an older file (``PublishedEpochs``),
its refusal is not the cluster's, and the job is returned: at most ``MOST_RETURNS`` times by this worker, for at most ``GRACE_S``
seconds after the newer file was first seen, and of a tenant's jobs at most ``MOST_JOBS``. After that the refusal is the result.
The same holds for a lane with an older file than this worker: the host may have other files for it, or it could not read the new one.
The bounds are kept in this process: a tenant's Redis user can write all that Redis knows of a job's attempts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from queueing.errors import (
    AlgorithmMismatch,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    ConfigBehind,
    EnvelopeSignature,
    GrantRefused,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    PolicyDenied,
    QueueUnavailable,
)

if TYPE_CHECKING:
    from workers.active_job import ActiveJob, JobSink
    from workers.pipeline.forgeries import ForgeryGuard
    from workers.published_epochs import PublishedEpochs
    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.release")

GRACE_S: Final = 600.0
"""Time from the first sight of a newer file to when it should be here: a run of configuration management over many hosts."""

MOST_RETURNS: Final = 32
"""Returns of one job by one worker, one to four seconds apart: about a minute and a half."""

MOST_JOBS: Final = 16_384
"""Jobs of a tenant whose returns are counted, 150 bytes each; further ones are refused at once."""

PACE_S: Final = 0.2
"""Shortest time between two looks at the directories: one round trip for all jobs that are refused meanwhile. A directory may have
megabytes, and a refused job costs its tenant nothing."""

LOOK_S: Final = 1.0
"""Longest wait for a look: until then a refusal is not in the log."""

_BY_FILE: Final = (
    AlgorithmMismatch,
    ClientExpired,
    ClientRevoked,
    ClientUnknown,
    EnvelopeSignature,
    GrantRefused,
    KeyDisabled,
    KeyExpired,
    KeyUnknown,
    PolicyDenied,
)
"""Refusals that follow from the tenant's file. Its client keys too: under a replaced one a signature does not verify."""


@dataclass(slots=True)
class _Grace:
    """Time in which a tenant's jobs are returned: the newer epoch, its end (monotonic), and the returns by job."""

    epoch: int
    until_s: float
    returns: dict[bytes, int] = field(default_factory=dict)

    def take(self, job_id: bytes, now_s: float) -> bool:
        """Count one more return of this job; False where a bound is reached."""
        if now_s >= self.until_s:
            return False
        name = hashlib.blake2b(job_id, digest_size=16).digest()  # others choose the ids, and their length
        count = self.returns.get(name, 0)
        if count >= MOST_RETURNS or (not count and len(self.returns) >= MOST_JOBS):
            return False
        self.returns[name] = count + 1
        return True


class RefusalReview:
    """The ``JobSink`` before that of results: each refusal by a tenant's file waits here for one look at the directories."""

    def __init__(
        self,
        epochs: PublishedEpochs,
        *,
        results: JobSink,
        forgeries: ForgeryGuard,
        metrics: Metrics,
    ) -> None:
        self._epochs = epochs
        self._results = results
        self._forgeries = forgeries
        self._metrics = metrics
        self._jobs: list[ActiveJob] = []
        self._graces: dict[str, _Grace] = {}
        # Of files that are in force here, and were not where the job was judged:
        self._own: dict[str, _Grace] = {}
        self._wake = asyncio.Event()

    def finished(self, job: ActiveJob) -> None:
        """Pass a job on, or keep it for the next look. The guard of the log is told at once, whatever becomes of the job."""
        if isinstance(job.failure, _BY_FILE):
            self._forgeries.judged(job)
            self._jobs.append(job)
            self._wake.set()
        else:
            self._results.finished(job)

    async def run(self) -> None:
        """Review until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            jobs, self._jobs = self._jobs, []
            await self.review(jobs, time.monotonic())
            await asyncio.sleep(PACE_S)

    async def review(self, jobs: list[ActiveJob], now_s: float) -> None:
        """Return the jobs for which a newer file is known of, or has come since they were judged, and pass the others on.

        Without an answer of Redis, by what was seen before. ``now_s``: of the monotonic clock.
        """
        tenants = sorted({job.claimed.tenant for job in jobs})
        try:
            async with asyncio.timeout(LOOK_S):
                newer = await self._epochs.newer(tenants)
        except (QueueUnavailable, TimeoutError) as error:
            newer = self._epochs.known(tenants)
            self._metrics.redis_errors.labels("directory").inc()
            why = str(error) or "it took too long"
            log.warning("redis.failed", extra={"operation": "directory", "why": why})
        self._forget_counts(now_s)
        for tenant in tenants:
            self._see(tenant, newer.get(tenant), now_s)
        for job in jobs:
            if any(grace.take(job.job_id, now_s) for grace in self._graces_of(job, now_s)):
                job.return_refused(ConfigBehind())
            else:
                self._results.finished(job)

    def _graces_of(self, job: ActiveJob, now_s: float) -> list[_Grace]:
        """Times of grace that this job can have: while this worker is behind, and where it was judged by an older file than this worker has.

        The latter: a newer file was adopted here meanwhile, or the lane has not adopted it.
        """
        tenant = job.claimed.tenant
        found = [self._graces[tenant]] if tenant in self._graces else []
        in_force = self._epochs.in_force(tenant)
        if job.epoch is None or job.epoch >= in_force:
            return found
        own = self._own.get(tenant)
        if own is None or own.epoch < in_force:
            own = self._own[tenant] = _Grace(in_force, now_s + GRACE_S)
        return [own, *found]

    def _forget_counts(self, now_s: float) -> None:
        for grace in (*self._graces.values(), *self._own.values()):
            if now_s >= grace.until_s:
                grace.returns.clear()

    def _see(self, tenant: str, epoch: int | None, now_s: float) -> None:
        """Begin the time of grace of a newer epoch, or end it where there is none: the file has come."""
        grace = self._graces.get(tenant)
        if epoch is None:
            self._graces.pop(tenant, None)
        elif grace is None or grace.epoch < epoch:
            self._graces[tenant] = _Grace(epoch, now_s + GRACE_S)
