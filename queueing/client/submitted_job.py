"""A submitted job, which may be many envelopes: ``Job``, and the wait for the outcomes of all its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from queueing.aio.owned_tasks import CLOSED, OwnedTasks
from queueing.client.signatures import Outcome
from queueing.client.signing_request import SigningRequest, Target
from queueing.errors import DigestLength, EnvelopeMalformed, SigningError, WaitTimeout
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.names import Name
from queueing.protocol.priorities import Priority

if TYPE_CHECKING:
    from queueing.client.receipts import Runner


class JobPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One envelope of a job."""

    job_id: str
    idempotency_key: bytes
    digests: tuple[bytes, ...]


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A submitted job: all that another process needs to wait for it.

    ``count``: digests given. ``refused``: position -> why it was not sent. ``receipts``: it was submitted with the wish for
    receipts. It holds digests, not secrets.
    """

    tenant: Name
    key: Name
    key_version: int
    algorithm: Algorithm
    count: int
    parts: tuple[JobPart, ...]
    refused: dict[int, str] = {}
    request_id: str | None = None
    priority: Priority = Priority.NORMAL
    receipts: bool = False

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The ids under which the queue knows it, in the order of the digests."""
        return tuple(part.job_id for part in self.parts)

    def requests(self) -> Iterator[SigningRequest]:
        """The requests of its parts, as they were submitted."""
        target = Target(self.key, self.key_version, self.algorithm)
        return (
            SigningRequest(target, part.idempotency_key, part.digests, self.priority, self.receipts)
            for part in self.parts
        )

    def drafts(self) -> Iterator[SigningRequest]:
        """``requests()`` under its earlier name."""
        return self.requests()

    def to_json(self) -> bytes:
        """One line of JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, raw: bytes | str) -> Job:
        """Read what ``to_json`` wrote; raises ``EnvelopeMalformed`` (final)."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except (ValueError, RecursionError):  # ValueError: not JSON, not UTF-8, of other fields
            raise EnvelopeMalformed("this is not a job as `submit` writes it") from None


async def outcomes_of(job: Job, runner: Runner, tasks: OwnedTasks, deadline_s: float | None) -> list[Outcome]:
    """One outcome per digest of the job. Raises ``WaitTimeout`` with the ids of the parts that are not answered."""
    running = [tasks.start(runner.run(request, deadline_s)) for request in job.requests()]
    try:
        if running:
            await asyncio.wait(running)
    finally:
        for task in running:
            task.cancel()
    outcomes = [o for task, part in zip(running, job.parts, strict=True) for o in _ended(task, part)]
    _raise_if_late(outcomes)
    return merged(job.count, outcomes, {i: DigestLength(why) for i, why in job.refused.items()})


def merged(count: int, outcomes: list[Outcome], refused: Mapping[int, SigningError]) -> list[Outcome]:
    """The outcomes at the positions that were sent, the refusals at theirs."""
    if not refused:
        return outcomes
    sent = iter(outcomes)
    return [refused[i] if i in refused else next(sent) for i in range(count)]


def _ended(task: asyncio.Task[list[Outcome]], part: JobPart) -> list[Outcome]:
    """The outcomes of a part; a task that the closing client cancelled is no cancellation of the caller."""
    if task.cancelled():
        return [WaitTimeout(CLOSED, job_ids=(part.job_id,))]
    return task.result()


def _raise_if_late(outcomes: list[Outcome]) -> None:
    late = [outcome for outcome in outcomes if isinstance(outcome, WaitTimeout)]
    if late:
        job_ids = dict.fromkeys(job_id for error in late for job_id in error.job_ids)
        raise WaitTimeout(late[0].message, job_ids=tuple(job_ids))
