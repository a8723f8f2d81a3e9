"""Values of a submit: envelopes that go into the queue, and the queue's receipts for them. No Redis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from queueing.protocol.priorities import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueing.errors import SigningError
    from queueing.protocol.envelope import Envelope


class SubmitStatus(StrEnum):
    """Result of a submit."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    DONE = "done"
    CONFLICT = "conflict"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One envelope to submit: its job id, its sealed bytes, and the unsigned fields of the job."""

    job_id: str
    envelope: Envelope
    sealed: bytes
    content: bytes
    reply_id: str
    priority: Priority = Priority.NORMAL
    receipt: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The queue's answer; ``result`` (arq's bytes) only where the job is done.

    ``refusal``: why it was refused, with ``retry_after_s``; nothing was accepted, and nothing is known of it.
    ``confirmed``: whether as many replicas as were asked for have it; else a failover may forget it, and to ask
    again with the same id is what there is to do.
    """

    accepted: SubmitStatus
    result: bytes | None = None
    refusal: SigningError | None = None
    confirmed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingCapacity:
    """Capacity left to the tenant after a submit; None where there is no cap."""

    backlog_digests: int | None
    backlog_bytes: int | None
    budget_digests: int | None
    """Of the day's budget, by the digests that workers have claimed: those that wait are not counted yet."""


class Receipts(list[Receipt]):
    """One receipt for each job, in order, and the capacity left."""

    def __init__(self, receipts: Iterable[Receipt], room: RemainingCapacity) -> None:
        super().__init__(receipts)
        self.room = room
