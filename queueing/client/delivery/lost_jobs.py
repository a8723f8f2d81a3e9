"""Recovery of jobs that the reply stream does not answer: they are looked up, and submitted again where they are lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.events import wait_for
from queueing.errors import JobUnknown, QueueUnavailable, QueueUnconfirmed

if TYPE_CHECKING:
    from queueing.broker.job_values import QueuedState
    from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs
    from queueing.client.delivery.submitter import Submitter

_log = logging.getLogger("sigmill.client")

_MOST_JOBS: Final = 256
_TICK_S: Final = 1.0
"""Interval at which the table in memory is searched while jobs are waited for; Redis is asked when one is due."""

_SHORTEST_S: Final = 0.05


class JobLookups(Protocol):
    """The part of ``queueing.client.delivery.queue_access.QueueAccess`` that is needed here."""

    @property
    def confirms(self) -> bool:
        """Whether a result counts only when replicas have it."""

    async def look_up(self, job_ids: Sequence[str], *, confirmed: bool = False) -> list[QueuedState]:
        """State of each job. ``confirmed``: as replicas have it, else ``QueueUnconfirmed``."""


class LostJobRecovery:
    """Looks up jobs that are due and settles them; lost ones are submitted again, which the job id makes harmless."""

    def __init__(self, access: JobLookups, pending: PendingJobs, submitter: Submitter) -> None:
        self._access = access
        self._pending = pending
        self._submitter = submitter

    async def run(self) -> None:
        """Look up until cancelled."""
        now_s = asyncio.get_running_loop().time
        while True:
            await self._pending.some.wait()
            wait_s = min(self._pending.next_lookup_at_s() - now_s(), _TICK_S)
            if wait_s > 0:
                await wait_for(self._pending.sooner, max(wait_s, _SHORTEST_S))
            self._pending.sooner.clear()
            due = self._pending.due(_MOST_JOBS)
            if due:
                await self._look_up(due)

    async def settle_pushed(self, results: Mapping[str, bytes]) -> None:
        """Settle the jobs whose results were pushed; under ``replicated`` those whose results replicas have, too.

        A failover may lose a result that no replica has. Then another worker signs the job again, and callers who had
        the first result would have another one than those who ask later.
        """
        if not self._access.confirms:
            for job_id, result in results.items():
                self._pending.pushed(job_id, result)
            return
        jobs = [job for job_id in results if (job := self._pending.get(job_id)) is not None]
        for first in range(0, len(jobs), _MOST_JOBS):
            some = jobs[first : first + _MOST_JOBS]
            for job, result in await self._confirmed(some):
                self._pending.pushed(job.job_id, result)
            for job in some:
                self._pending.look_up_unsettled(job.job_id)

    async def settle_unknown(self, job_ids: Iterable[str]) -> None:
        """Send jobs again that the queue does not have, and end those of which only the id is known."""
        for job_id in job_ids:
            for job in self._pending.all_of(job_id):
                if job.submission is None:
                    await self._end_unknown(job)
                elif job.accepted.done():
                    self._send_again(job)

    async def _look_up(self, jobs: Sequence[PendingJob]) -> None:
        confirms = self._access.confirms
        found = await self._states(jobs)
        unconfirmed: list[PendingJob] = []
        for job, state in zip(jobs[: len(found)], found, strict=True):
            if state.result is not None:
                if not confirms:
                    self._pending.settle(job, state.result)
                else:
                    job.seen = True
                    unconfirmed.append(job)
            elif not state.lost:
                job.seen = True
            elif job.submission is None:
                await self._end_unknown(job)
            else:
                self._send_again(job)
        if unconfirmed:
            for job, result in await self._confirmed(unconfirmed):
                self._pending.settle(job, result)

    def _send_again(self, job: PendingJob) -> None:
        if not job.posted:  # else it waits for the queue or for backlog capacity already
            _log.warning("job %s is lost in the queue and is sent again", job.job_id)
            self._submitter.post(job)

    async def _confirmed(self, jobs: Sequence[PendingJob]) -> list[tuple[PendingJob, bytes]]:
        """Jobs with their results, of those that replicas have."""
        found = await self._states(jobs, confirmed=True)
        pairs = zip(jobs[: len(found)], found, strict=True)
        return [(job, state.result) for job, state in pairs if state.result is not None]

    async def _end_unknown(self, job: PendingJob) -> None:
        """End a job that is not there and cannot be sent again, once the replicas have shown that this is the primary."""
        if not self._access.confirms or any(
            state.lost for state in await self._states([job], confirmed=True)
        ):
            self._pending.settle(job, JobUnknown())

    async def _states(self, jobs: Sequence[PendingJob], *, confirmed: bool = False) -> list[QueuedState]:
        """State of each job; none where that cannot be told now, and they are looked up again later."""
        names = [job.job_id for job in jobs]
        try:
            return await self._access.look_up(names, confirmed=confirmed)
        except (QueueUnavailable, QueueUnconfirmed) as error:
            _log.warning("%d jobs could not be looked up: %s", len(jobs), error)
            return []
