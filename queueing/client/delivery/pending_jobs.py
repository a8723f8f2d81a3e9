"""Table of the jobs that this client waits for, by id. The reply stream and the lookups settle them here.

Two calls may use one id for different digests: the queue has one of them, and answers the other with a conflict. So each
content has an entry of its own, and so have the calls that know the id alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

from queueing.aio.owned_tasks import THE_CLIENT_WAS_CLOSED
from queueing.broker.submissions import Submission, SubmitStatus
from queueing.errors import QueueUnavailable, ResultInvalid, SigningError, WaitTimeout
from queueing.protocol.jobs import decode_result

_LOOKUPS_S: Final = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Waits between lookups of an unanswered job, the last one repeated: results are pushed, this is the net."""

_JOINED_LOOKUP_S: Final = 2.0
"""Longest wait between lookups of a job that was under way already: its push may go to another client."""


class PendingJob:
    """One job and everybody in this process who waits for it.

    ``accepted`` is done when the queue has answered, or will not: None, or why it has not taken the job. ``result``
    holds arq's result bytes, or the error that the queue itself gave, or why none comes. ``submission`` is None where
    only the id is known. ``to_confirm``: a call waits until the queue is sure to keep the job, for which its result
    is no sign. ``posted``: the sender has it, until the queue has. ``sent``: a submit of it was begun, and was not refused.
    ``seen``: a lookup found it in the queue.
    """

    __slots__ = (
        "_lookups",
        "accepted",
        "job_id",
        "joined",
        "look_up_at_s",
        "posted",
        "result",
        "seen",
        "sent",
        "submission",
        "to_confirm",
        "trouble",
    )

    def __init__(self, job_id: str, submission: Submission | None) -> None:
        loop = asyncio.get_running_loop()
        self.job_id = job_id
        self.submission = submission
        self.accepted: asyncio.Future[SigningError | None] = loop.create_future()
        self.result: asyncio.Future[bytes | SigningError] = loop.create_future()
        self.joined = submission is None
        self.trouble: SigningError | None = None
        self.to_confirm = False
        self.posted = False
        self.sent = False
        self.seen = False
        self.look_up_at_s = math.inf
        self._lookups = 0

    @property
    def content(self) -> bytes | None:
        """Hash of what is to be signed; None where only the id is known."""
        return None if self.submission is None else self.submission.content

    @property
    def queued(self) -> bool:
        """Whether the queue has it, or had; also where the caller says so by the id alone."""
        return self.submission is None or self.accepted.done() or self.seen

    def look_up_later(self, now_s: float) -> None:
        """Set the time of the next lookup."""
        wait_s = _LOOKUPS_S[min(self._lookups, len(_LOOKUPS_S) - 1)]
        self._lookups += 1
        self.look_up_at_s = now_s + (min(wait_s, _JOINED_LOOKUP_S) if self.joined else wait_s)

    def why_unanswered(self, what_happened: str = "the deadline passed") -> SigningError:
        """The error of a caller who stops waiting because of ``what_happened``."""
        if not self.accepted.done() and self.trouble is not None:
            return self.trouble
        if self.accepted.done() or self.seen:
            return WaitTimeout(
                f"{what_happened} before the result came; the job is still processed", job_ids=(self.job_id,)
            )
        return QueueUnavailable(f"{what_happened} before the queue had answered; it may have taken the job")


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJobs:
    """Ids of jobs that calls wait for: ``queued`` by an answer of the queue, ``sent`` without an answer yet, or not sent."""

    queued: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        return self.queued + self.sent + self.unsent


class PendingJobs:
    """The table. ``now_s`` is the loop's clock."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._jobs: dict[str, list[PendingJob]] = {}
        self._waiters: dict[PendingJob, int] = {}
        self.some = asyncio.Event()
        """Set while there are jobs to wait for."""
        self.sooner = asyncio.Event()
        """Set when a lookup is due at once; the lookup loop clears it."""
        self.receivable_added = asyncio.Event()
        """Set when there is another job whose result can be asked for; the polls clear it."""

    def __len__(self) -> int:
        return len(self._jobs)

    def job_ids(self) -> tuple[str, ...]:
        """Jobs for which a call waits."""
        return tuple(self._jobs)

    def waiting_jobs(self) -> WaitingJobs:
        """Jobs for which a call waits, by what is known of their submit."""
        queued: list[str] = []
        sent: list[str] = []
        unsent: list[str] = []
        for job_id, known in self._jobs.items():
            if any(job.queued for job in known):
                queued.append(job_id)
            elif any(job.sent for job in known):
                sent.append(job_id)
            else:
                unsent.append(job_id)
        return WaitingJobs(queued=tuple(queued), sent=tuple(sent), unsent=tuple(unsent))

    def trouble(self) -> SigningError | None:
        """Reason for which the queue has not taken one of the jobs; None if it has them all."""
        return next((job.trouble for job in self._all() if job.trouble is not None), None)

    def get(self, job_id: str) -> PendingJob | None:
        """The job, of its first content; None if no call waits for it."""
        return next(iter(self._jobs.get(job_id, ())), None)

    @contextlib.contextmanager
    def waiting(self, job_id: str, submission: Submission | None = None) -> Iterator[tuple[PendingJob, bool]]:
        """Wait for a job within the block: the job of this content, and whether it is new to the table."""
        content = None if submission is None else submission.content
        known = self._jobs.setdefault(job_id, [])
        job = next((job for job in known if job.content == content), None)
        new = job is None
        if job is None:
            job = PendingJob(job_id, submission)
            known.append(job)
            self.some.set()
            if submission is None:
                self.look_up_now(job)
                self.receivable_added.set()
        self._waiters[job] = self._waiters.get(job, 0) + 1
        try:
            yield job, new
        finally:
            self._waiters[job] -= 1
            if not self._waiters[job]:
                del self._waiters[job]
                self._forget(job)

    def is_wanted(self, job: PendingJob) -> bool:
        """Whether a call still waits for its answer."""
        if job not in self._waiters:
            return False
        return not job.result.done() or (job.to_confirm and not job.accepted.done())

    def accept(self, job: PendingJob, accepted: SubmitStatus) -> None:
        """The queue has the job; from now on it is looked up when no result comes."""
        job.joined = accepted is not SubmitStatus.ACCEPTED
        job.trouble = None
        job.posted = False
        if not job.accepted.done():
            job.accepted.set_result(None)
        job.look_up_later(self._now_s())
        self.receivable_added.set()

    def receivable(self, most: int, *, without: Collection[str]) -> list[str]:
        """Jobs that the queue has, as far as is known, at most so many; not those in ``without``."""
        found = (
            job_id
            for job_id, known in self._jobs.items()
            if job_id not in without and any(_is_receivable(job) for job in known)
        )
        return list(islice(found, most))

    def is_any_unsure(self, job_ids: Iterable[str]) -> bool:
        """Whether the queue may never have had one of these jobs: only its id is known, and it was not seen."""
        return any(
            job.submission is None and not job.seen
            for job_id in job_ids
            for job in self._jobs.get(job_id, ())
        )

    def seen(self, job_ids: Iterable[str]) -> None:
        """Note that the queue has these jobs."""
        for job_id in job_ids:
            for job in self._jobs.get(job_id, ()):
                job.seen = True

    def all_of(self, job_id: str) -> tuple[PendingJob, ...]:
        """The job, of each content."""
        return tuple(self._jobs.get(job_id, ()))

    def pushed(self, job_id: str, result: bytes) -> None:
        """Hand a result that the reply stream brought to all callers that wait for it, if there are any.

        A job that the queue has not accepted yet may be of another content than the one that has this id: then its submit
        is answered with a conflict.
        """
        for job in tuple(self._jobs.get(job_id, ())):
            if job.content is None or job.accepted.done() or _may_be_of(job.content, result):
                self.settle(job, result)

    def settle(self, job: PendingJob, result: bytes | SigningError) -> None:
        """Hand a result to all callers that wait for this job."""
        self._forget(job)
        unsure = job.to_confirm and isinstance(result, bytes)
        if not job.accepted.done() and not unsure:
            job.accepted.set_result(result if isinstance(result, SigningError) else None)
        if not job.result.done():
            job.result.set_result(result)

    def close(self) -> None:
        """Fail all callers that still wait, with the reason."""
        for job in self._waiters:
            why = job.why_unanswered(THE_CLIENT_WAS_CLOSED)
            if not job.result.done():
                job.result.set_result(why)
            if not job.accepted.done():
                job.accepted.set_result(why)

    def look_up_now(self, job: PendingJob) -> None:
        """Make its lookup due at once."""
        job.look_up_at_s = self._now_s()
        self.sooner.set()

    def look_up_unsettled(self, job_id: str) -> None:
        """Make the lookup of a job due at once whose pushed result was not handed over; not before the queue has accepted it."""
        for job in self._jobs.get(job_id, ()):
            if job.content is None or job.accepted.done():
                self.look_up_now(job)

    def due(self, most: int) -> list[PendingJob]:
        """Jobs whose lookup is due, at most so many; their next one is set."""
        now_s = self._now_s()
        due = [job for job in self._all() if job.look_up_at_s <= now_s][:most]
        for job in due:
            job.look_up_later(now_s)
        return due

    def next_lookup_at_s(self) -> float:
        """Time of the next lookup; infinite where none is due."""
        return min((job.look_up_at_s for job in self._all()), default=math.inf)

    def _all(self) -> Iterator[PendingJob]:
        return chain.from_iterable(self._jobs.values())

    def _forget(self, job: PendingJob) -> None:
        known = self._jobs.get(job.job_id, [])
        if job in known:
            known.remove(job)
        if not known:
            self._jobs.pop(job.job_id, None)
        if not self._jobs:
            self.some.clear()


def _is_receivable(job: PendingJob) -> bool:
    return not job.posted and (job.submission is None or job.accepted.done())


def _may_be_of(content: bytes, result: bytes) -> bool:
    """Whether a result is of this content, or does not say of which."""
    try:
        return decode_result(result).content in {content, b""}
    except ResultInvalid:
        return True  # the callers learn that it cannot be read
