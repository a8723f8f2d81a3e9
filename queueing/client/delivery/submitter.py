"""Submits jobs in batches: while one round trip is under way, the next batch collects; refused jobs are retried later."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from queueing.aio.backoff import REDIS_AWAY_S, Backoff, Randomness, wait_after
from queueing.broker.submissions import Receipt, Receipts, RemainingCapacity, Submission, SubmitStatus
from queueing.errors import JobConflict, QueueUnavailable, QueueUnconfirmed

if TYPE_CHECKING:
    from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs
    from queueing.errors import SigningError

_log = logging.getLogger("sigmill.client")

MOST_JOBS: Final = 128
"""Envelopes per round trip: above this the script's own time (about 20 us a job) delays other clients."""

MOST_BYTES: Final = 1024 * 1024
"""Bytes per round trip, so that a batch of full envelopes stays within a few milliseconds of network."""


class Queue(Protocol):
    """The part of ``queueing.client.delivery.queue_access.QueueAccess`` that is needed here."""

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        """One receipt for each submission, in order; raises ``QueueUnavailable``."""


class Submitter:
    """Submits pending jobs in batches, again and again while Redis cannot be reached, has no room for them, or is
    not sure to keep them.
    """

    def __init__(
        self,
        queue: Queue,
        pending: PendingJobs,
        *,
        backoff: Backoff | None = None,
        randomness: Randomness = random,
    ) -> None:
        self._queue = queue
        self._pending = pending
        self._backoff = backoff or Backoff(most_s=REDIS_AWAY_S)
        self._randomness = randomness
        self._outbox: deque[PendingJob] = deque()
        self._filled = asyncio.Event()
        self.room: RemainingCapacity | None = None

    def post(self, job: PendingJob) -> None:
        """Send a job with the next batch, and again until the queue has it or no caller waits for it."""
        job.posted = True
        self._outbox.append(job)
        self._filled.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._filled.wait()
            batch = self._next_batch()
            if not batch:
                self._filled.clear()
                continue
            for job, _ in batch:
                job.sent = True
            try:
                receipts = await self._queue.submit([submission for _, submission in batch])
            except QueueUnavailable as error:
                await self._retry_later([job for job, _ in batch], error)
            else:
                await self._process([job for job, _ in batch], receipts)

    async def _process(self, jobs: Sequence[PendingJob], receipts: Receipts) -> None:
        self.room = receipts.room
        unconfirmed: list[PendingJob] = []
        refused: list[tuple[PendingJob, SigningError]] = []
        for job, receipt in zip(jobs, receipts, strict=True):
            self._record(job, receipt)
            if receipt.refusal is not None:
                if receipt.refusal.retryable:
                    refused.append((job, receipt.refusal))
            elif not receipt.confirmed and self._pending.is_wanted(job):
                unconfirmed.append(job)
        if refused:
            self._retry_when_advised(refused)
        if unconfirmed:
            await self._retry_later(unconfirmed, QueueUnconfirmed())
        else:
            self._backoff.reset()

    def _next_batch(self) -> list[tuple[PendingJob, Submission]]:
        batch: list[tuple[PendingJob, Submission]] = []
        total_bytes = 0
        while self._outbox and len(batch) < MOST_JOBS and total_bytes < MOST_BYTES:
            job = self._outbox.popleft()
            if job.submission is not None and self._pending.is_wanted(job):
                batch.append((job, job.submission))
                total_bytes += len(job.submission.sealed)
        return batch

    async def _retry_later(
        self, jobs: Sequence[PendingJob], error: QueueUnavailable | QueueUnconfirmed
    ) -> None:
        for job in jobs:
            job.trouble = error
        self._outbox.extendleft(reversed(jobs))
        wait_s = self._backoff.after_s(error)
        _log.warning("%d envelopes wait, next try in %.1f s: %s", len(self._outbox), wait_s, error)
        await asyncio.sleep(wait_s)

    def _retry_when_advised(self, refused: Sequence[tuple[PendingJob, SigningError]]) -> None:
        """Post the refused jobs again, in order, after the advised time; other jobs do not wait for them."""
        for job, error in refused:
            job.trouble = error
        wait_s = wait_after(refused[0][1], self._randomness)
        _log.info("%d envelopes wait for backlog capacity, next try in %.1f s", len(refused), wait_s)
        asyncio.get_running_loop().call_later(wait_s, self._post_all, [job for job, _ in refused])

    def _post_all(self, jobs: Sequence[PendingJob]) -> None:
        for job in jobs:
            self.post(job)

    def _record(self, job: PendingJob, receipt: Receipt) -> None:
        if receipt.refusal is not None:
            job.sent = False
            if not receipt.refusal.retryable:  # of a relay, which reads the envelope
                self._pending.settle(job, receipt.refusal)
            return
        if receipt.accepted is SubmitStatus.CONFLICT:
            self._pending.settle(job, JobConflict())
            return
        if receipt.result is not None and receipt.confirmed:
            self._pending.settle(job, receipt.result)
        if receipt.confirmed:
            self._pending.accept(job, receipt.accepted)
