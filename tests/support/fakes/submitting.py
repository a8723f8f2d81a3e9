"""A tenant's queue that is played by the test, and a submitter over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from queueing.aio.backoff import Backoff
from queueing.broker.submissions import Receipt, Receipts, RemainingCapacity, Submission, SubmitStatus
from queueing.client.delivery.pending_jobs import PendingJob, PendingJobs
from queueing.client.delivery.submitter import Submitter
from queueing.errors import LimitBacklog, SigningError
from queueing.protocol.envelope import Envelope
from tests.support.clocks.fixed_random import FixedRandom

NO_CAP = RemainingCapacity(backlog_digests=None, backlog_bytes=None, budget_digests=None)
UNCONFIRMED = Receipt(SubmitStatus.QUEUED, confirmed=False)
ACCEPTED = Receipt(SubmitStatus.ACCEPTED)
NO_ROOM = Receipt(SubmitStatus.REFUSED, refusal=LimitBacklog(retry_after_s=60.0))
Answer = list[Receipt] | SigningError


def submission(job_id: str, content: bytes = b"c" * 16) -> Submission:
    envelope = Envelope(
        audience="a",
        tenant="acme",
        client="ci",
        key="release",
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=0,
        expires_at_ms=1,
        idempotency_key=bytes(16),
        digests=(bytes(32),),
    )
    return Submission(job_id=job_id, envelope=envelope, sealed=b"s", content=content, reply_id="")


class FakeQueue:
    """Answers as it is told, then accepts; remembers what was sent. ``hangs``: it never answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.sent: list[list[str]] = []
        self.hangs = False

    async def submit(self, submissions: Sequence[Submission]) -> Receipts:
        self.sent.append([s.job_id for s in submissions])
        if self.hangs:
            await asyncio.Event().wait()
        answer = self.answers.pop(0) if self.answers else [ACCEPTED] * len(submissions)
        if isinstance(answer, SigningError):
            raise answer
        return Receipts(answer, NO_CAP)


class SubmitterStack:
    """A submitter over a queue that the test scripts, with its pending jobs."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.callers = ExitStack()
        self.pending = PendingJobs(asyncio.get_running_loop().time)
        self.submitter = Submitter(
            self.queue, self.pending, backoff=Backoff(first_s=0.0), randomness=FixedRandom(0.0)
        )

    def post(self, job_id: str, *, to_confirm: bool = False) -> PendingJob:
        job, _ = self.callers.enter_context(self.pending.waiting(job_id, submission(job_id)))
        job.to_confirm = to_confirm
        self.submitter.post(job)
        return job
