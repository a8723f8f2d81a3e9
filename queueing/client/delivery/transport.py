"""Transport of one client: submits its jobs, and waits for their results."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from queueing.broker.submissions import RemainingCapacity, Submission
from queueing.client.delivery.lost_jobs import LostJobRecovery
from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs
from queueing.client.delivery.submitter import Submitter
from queueing.errors import SigningError, WaitTimeout

if TYPE_CHECKING:
    from queueing.client.delivery.queue_access import QueueAccess


class Transport:
    """Submits envelopes of one tenant and waits for their results.

    Deadlines are times of the running loop's clock; None waits for ever.
    """

    def __init__(self, access: QueueAccess) -> None:
        self.pending = PendingJobs(asyncio.get_running_loop().time)
        self._submitter = Submitter(access, self.pending)
        self._confirms = access.confirms
        self._receiver = access.receiver(self.pending, LostJobRecovery(access, self.pending, self._submitter))

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The loops of sending and receiving, to be run until they are cancelled."""
        return self._submitter.run(), *self._receiver.loops()

    @property
    def busy(self) -> bool:
        """Whether a call waits for a job."""
        return len(self.pending) > 0

    @property
    def room(self) -> RemainingCapacity | None:
        """Capacity that the last submitted batch left to the tenant; None before the first."""
        return self._submitter.room

    def why_unanswered(self, job_id: str, what_happened: str = "the deadline passed") -> SigningError:
        """The error of a caller who stops waiting for this job, which was sent, because of ``what_happened``."""
        job = self.pending.get(job_id)
        if job is None:
            return WaitTimeout(f"{what_happened} before the result was checked", job_ids=(job_id,))
        return job.why_unanswered(what_happened)

    async def result_of(self, submission: Submission, deadline_s: float | None) -> bytes:
        """Submit, and wait for arq's result bytes.

        Raises ``JobConflict``, ``WaitTimeout`` with the job id, or where the queue has not taken the job by the
        deadline, why: ``QueueUnavailable``, ``LimitBacklog``, ``LimitBudget``.
        """
        with self.pending.waiting(submission.job_id, submission) as (job, new):
            if new:
                self._submitter.post(job)
            return await _result(job, deadline_s)

    async def result_by_id(self, job_id: str, deadline_s: float | None) -> bytes:
        """Wait for the result of a submitted job; raises ``JobUnknown``, ``WaitTimeout``, ``QueueUnavailable``."""
        with self.pending.waiting(job_id) as (job, _):
            return await _result(job, deadline_s)

    async def accept(self, submissions: Sequence[Submission], deadline_s: float | None) -> None:
        """Submit, and wait until the queue has them all; raises ``JobConflict``, or the reason that it has not."""
        with contextlib.ExitStack() as stack:
            jobs = []
            for submission in submissions:
                job, new = stack.enter_context(self.pending.waiting(submission.job_id, submission))
                job.to_confirm = self._confirms
                if new:
                    self._submitter.post(job)
                jobs.append(job)
            for job in jobs:
                await _until(job.accepted, deadline_s)
                if not job.accepted.done():
                    raise job.why_unanswered()
                refusal = job.accepted.result()
                if refusal is not None:
                    raise refusal

    async def close(self) -> None:
        """Fail the calls that still wait, and leave nothing in the queue. The loops have ended."""
        self.pending.close()
        await self._receiver.close()


async def _result(job: PendingJob, deadline_s: float | None) -> bytes:
    await _until(job.result, deadline_s)
    if not job.result.done():
        raise job.why_unanswered()
    result = job.result.result()
    if isinstance(result, SigningError):
        raise result
    return result


async def _until(future: asyncio.Future[Any], deadline_s: float | None) -> None:
    """Wait without owning: a caller that gives up must not cancel what others wait for."""
    if future.done():
        return
    if deadline_s is None:
        await asyncio.shield(future)  # half the CPU of asyncio.wait()
    else:
        await asyncio.wait((future,), timeout=max(0.0, deadline_s - asyncio.get_running_loop().time()))
