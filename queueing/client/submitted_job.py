"""The parts of a submitted job: waited for together, their outcomes in the order of its digests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from queueing.aio.owned_tasks import CLOSED, OwnedTasks
from queueing.client.signatures import Outcome
from queueing.client.signing_request import Job, JobPart, SigningRequest
from queueing.errors import DigestLength, SigningError, WaitTimeout

Perform = Callable[[SigningRequest], Coroutine[Any, Any, list[Outcome]]]


async def outcomes_of(job: Job, perform: Perform, tasks: OwnedTasks) -> list[Outcome]:
    """One outcome per digest of the job. Raises ``WaitTimeout`` with the ids of the parts that are not answered."""
    performing = [tasks.start(perform(draft)) for draft in job.drafts()]
    try:
        if performing:
            await asyncio.wait(performing)
    finally:
        for task in performing:
            task.cancel()
    outcomes = [o for task, part in zip(performing, job.parts, strict=True) for o in _ended(task, part)]
    _raise_if_late(outcomes)
    return merged(job.count, outcomes, {i: DigestLength(why) for i, why in job.refused.items()})


def merged(count: int, outcomes: list[Outcome], refused: Mapping[int, SigningError]) -> list[Outcome]:
    """The outcomes at the positions that were sent, the refusals at theirs."""
    if not refused:
        return outcomes
    sent = iter(outcomes)
    return [refused[i] if i in refused else next(sent) for i in range(count)]


def _ended(task: asyncio.Task[list[Outcome]], part: JobPart) -> list[Outcome]:
    """What came of a part; a task that the closing client cancelled is no cancellation of the caller."""
    if task.cancelled():
        return [WaitTimeout(CLOSED, job_ids=(part.job_id,))]
    return task.result()


def _raise_if_late(outcomes: list[Outcome]) -> None:
    late = [outcome for outcome in outcomes if isinstance(outcome, WaitTimeout)]
    if late:
        job_ids = dict.fromkeys(job_id for error in late for job_id in error.job_ids)
        raise WaitTimeout(late[0].message, job_ids=tuple(job_ids))
