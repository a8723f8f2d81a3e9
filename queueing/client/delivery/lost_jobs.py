"""The net below the reply stream: jobs that stay unanswered are looked up, and sent again where they are lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from queueing.broker.job_state import look_up
from queueing.errors import JobUnknown, QueueUnavailable

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs

_log = logging.getLogger("sigmill.client")

_MOST_JOBS: Final = 256
_TICK_S: Final = 1.0
"""How often the table in memory is looked through while jobs are waited for; Redis is asked when one is due."""

_SHORTEST_S: Final = 0.05


class LostJobRecovery:
    """Looks up what is due and settles it; what is lost is posted again, which the job id makes harmless."""

    def __init__(
        self, redis: Redis, tenant: str, pending: PendingJobs, post: Callable[[PendingJob], None]
    ) -> None:
        self._redis = redis
        self._tenant = tenant
        self._pending = pending
        self._post = post

    async def run(self) -> None:
        """Look up until cancelled."""
        now_s = asyncio.get_running_loop().time
        while True:
            await self._pending.some.wait()
            wait_s = min(self._pending.next_lookup_at_s() - now_s(), _TICK_S)
            if wait_s > 0:
                await self._sleep(max(wait_s, _SHORTEST_S))
            self._pending.sooner.clear()
            due = self._pending.due(_MOST_JOBS)
            if due:
                await self._look_up(due)

    async def _sleep(self, wait_s: float) -> None:
        """Sleep, or less where a lookup has become due at once."""
        try:
            async with asyncio.timeout(wait_s):
                await self._pending.sooner.wait()
        except TimeoutError:
            pass

    async def _look_up(self, jobs: Sequence[PendingJob]) -> None:
        try:
            found = await look_up(self._redis, self._tenant, [job.job_id for job in jobs])
        except QueueUnavailable as error:
            _log.warning("%d jobs could not be looked up: %s", len(jobs), error)
            return
        for job, state in zip(jobs, found, strict=True):
            if state.result is not None:
                self._pending.settle(job.job_id, state.result)
            elif not state.lost:
                job.seen = True
            elif job.submission is None:
                self._pending.settle(job.job_id, JobUnknown())
            elif not job.posted:  # else it waits, for Redis or for room: a second post would do so beside it
                _log.warning("job %s is lost in the queue and is sent again", job.job_id)
                self._post(job)
