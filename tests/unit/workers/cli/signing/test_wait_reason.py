"""Sentence for a person who waits, by what the queue tells; a relay may tell nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import QueuePosition
from queueing.client.delivery.pending_jobs import WaitingJobs
from queueing.client.delivery.queue_access import QueueWait
from queueing.client.signing_client import SigningClient
from queueing.errors import LimitBacklog, QueueUnavailable, SigningError
from workers.cli.signing.wait_reason import wait_reason


@dataclass
class Client:
    """A client with a relay, which waits for ``waiting_jobs``."""

    answer: QueueWait | QueueUnavailable | None = None
    waiting_jobs: WaitingJobs = field(default_factory=lambda: WaitingJobs(queued=("a", "b")))
    submit_trouble: SigningError | None = None
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(redis=None))

    async def queue_wait(self) -> QueueWait | None:
        if isinstance(self.answer, QueueUnavailable):
            raise self.answer
        return self.answer


async def reason(client: Client) -> str:
    return await wait_reason(cast("SigningClient", client))


def wait(hindrance: Hindrance | None = None, **changes: float | None) -> QueueWait:
    place = {"queued": 2, "in_work": 0, "ahead": 7, "retry_in_s": None, **changes}
    return QueueWait(QueuePosition(**place), hindrance)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (wait(), "2 jobs are in the queue, 7 jobs ahead"),
        (wait(queued=1, ahead=None), "1 job is in the queue"),
        (wait(queued=0, in_work=1), "1 job is with a worker"),
        (wait(queued=0), ""),
        (
            wait(Hindrance(host="", drained=("",))),
            "2 jobs are in the queue, 7 jobs ahead; a host signs nothing for this tenant: a token is drained (the operator has to act)",
        ),
        (
            wait(queued=1, ahead=None, retry_in_s=2.4),
            (
                "a worker returned 1 job unsigned, because the key's token cannot be used or is held by others;"
                " next try in 2 s (the operator sees the reason in `sigmill tokens list`)"
            ),
        ),
        (None, "2 jobs are not answered yet"),
        (QueueUnavailable("cannot reach the relay: refused"), "cannot reach the relay: refused"),
    ],
    ids=["queued", "uncounted", "in work", "done", "hindered", "returned", "earlier relay", "away"],
)
async def test_a_person_is_told_the_place_of_the_jobs_and_why_they_wait(
    answer: QueueWait | QueueUnavailable | None, sentence: str
) -> None:
    assert await reason(Client(answer)) == sentence


async def test_jobs_that_the_queue_has_not_taken_are_told_with_the_reason() -> None:
    """Nobody is asked for their place."""
    client = Client(wait(), submit_trouble=LimitBacklog("the backlog is full"))
    assert await reason(client) == "the queue has not taken the jobs: the backlog is full"


async def test_without_a_job_there_is_no_reason() -> None:
    assert await reason(Client(wait(), waiting_jobs=WaitingJobs())) == ""
