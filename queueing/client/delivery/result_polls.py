"""Long polls of one client for its results: a few requests that wait at the relay, and between them every job once.

A poll ends when the relay has a result of one of its jobs; what it did not bring joins the next poll, with the jobs that
were submitted since. Where every poll waits for slow jobs, the oldest one is given up for new jobs, and its jobs join them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from queueing.aio.backoff import REDIS_AWAY_S, Backoff
from queueing.aio.events import wait_for
from queueing.aio.owned_tasks import end_tasks
from queueing.errors import QueueUnavailable

if TYPE_CHECKING:
    from queueing.client.delivery.lost_jobs import LostJobRecovery
    from queueing.client.delivery.pending_jobs import PendingJobs
    from queueing.client.delivery.relay_messages import PollAnswer

_log = logging.getLogger("sigmill.client")

WAIT_MS: Final = 25_000
MOST_POLLS: Final = 4
"""Polls at once: one for each group of jobs that was submitted while others were waited for."""

_MOST_IDS: Final = 512
_SHORTEST_POLL_S: Final = 1.0
"""A poll that ended sooner, and with nothing, is not repeated at once."""

_PATIENCE_S: Final = 0.1
"""Time in which one of the polls is likely to end while jobs are being finished."""


class PollSource(Protocol):
    """The part of ``queueing.client.delivery.relay_access.RelayAccess`` that is needed here."""

    async def results(self, job_ids: Sequence[str], *, wait_ms: int, check: bool) -> PollAnswer:
        """Results of these jobs, waited for; raises ``QueueUnavailable``."""


class ResultPolls:
    """Polls, and hands what they bring to the pending jobs. An idle client asks nothing."""

    def __init__(
        self,
        source: PollSource,
        pending: PendingJobs,
        recovery: LostJobRecovery,
        *,
        backoff: Backoff | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._source = source
        self._pending = pending
        self._recovery = recovery
        self._backoff = backoff or Backoff(most_s=REDIS_AWAY_S)
        self._patience_s = patience_s
        self._polls: dict[asyncio.Task[None], frozenset[str]] = {}  # oldest first
        self._ended = asyncio.Event()

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The loop of polls, which is the only one."""
        return (self.run(),)

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await self._pending.some.wait()
                self._pending.receivable_added.clear()
                self._ended.clear()
                self._reap()
                polled = frozenset[str]().union(*self._polls.values())
                job_ids = self._pending.receivable(_MOST_IDS, without=polled)
                if not job_ids:
                    await self._something_new()
                elif len(self._polls) < MOST_POLLS:
                    self._start(job_ids)
                elif not await wait_for(self._ended, self._patience_s):
                    await end_tasks([next(iter(self._polls))])
        finally:
            await end_tasks(list(self._polls))

    async def close(self) -> None:
        """Do nothing: a relay keeps no state of a client."""

    def _start(self, job_ids: Sequence[str]) -> None:
        task = asyncio.ensure_future(self._poll(job_ids))
        self._polls[task] = frozenset(job_ids)
        task.add_done_callback(lambda _: self._ended.set())

    def _reap(self) -> None:
        for task in [each for each in self._polls if each.done()]:
            del self._polls[task]
            if not task.cancelled():
                task.result()  # a defect is not silent

    async def _something_new(self) -> None:
        """Return when a job can be asked for, or a poll has ended."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self._ended, self._pending.receivable_added)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _poll(self, job_ids: Sequence[str]) -> None:
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        try:
            answer = await self._source.results(
                job_ids, wait_ms=WAIT_MS, check=self._pending.is_any_unsure(job_ids)
            )
        except QueueUnavailable as error:
            wait_s = self._backoff.after_s(error)
            _log.warning("results cannot be fetched, next try in %.1f s: %s", wait_s, error)
            await asyncio.sleep(wait_s)
            return
        if not (answer.results or answer.unknown) and now_s() - began_s < _SHORTEST_POLL_S:
            await asyncio.sleep(self._backoff.next_s())  # a relay that is being stopped
            return
        self._backoff.reset()
        await self._recovery.settle_pushed(answer.results)
        self._pending.seen(set(job_ids).difference(answer.unknown))
        await self._recovery.settle_unknown(answer.unknown)
