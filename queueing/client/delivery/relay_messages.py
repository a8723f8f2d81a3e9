"""Messages between a client and a relay: msgpack arrays of fixed shapes, in the bodies of HTTP requests and answers.

A relay's refusal of a whole request is JSON, a ``WireError``, so that a person with curl can read it.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec

from queueing.broker.hindrance_values import Hindrance
from queueing.broker.job_values import MOST_PLACED, QueuedState, QueuePosition
from queueing.broker.submissions import Receipt, Receipts, RemainingCapacity, SubmitStatus
from queueing.client.delivery.queue_access import PublishedDirectory, QueueWait
from queueing.errors import EnvelopeMalformed
from queueing.protocol.envelope import MAX_SEALED_BYTES
from queueing.protocol.jobs import WireError
from queueing.protocol.names import Name
from queueing.protocol.priorities import Priority

JOBS: Final = "/v1/jobs"
RESULTS: Final = "/v1/results"
STATES: Final = "/v1/states"
CANCEL: Final = "/v1/cancel"
RECEIPTS: Final = "/v1/receipts"
WAITING: Final = "/v1/waiting"
DIRECTORY: Final = "/v1/directory"
TIME: Final = "/v1/time"
HEALTH: Final = "/v1/health"

MESSAGE_TYPE: Final = "application/msgpack"

MOST_BODY_BYTES: Final = 1024 * 1024
"""Largest body of a request that a relay reads."""

LARGEST_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""Largest answer that a client reads: one result has 4 MiB at most, and several are cut to 1 MiB."""

MOST_JOBS: Final = 128
"""Envelopes of one submit: as many as a client sends to Redis in a round trip."""

MOST_IDS: Final = 1024
"""Jobs of one poll: 45 kB."""

MOST_WAIT_MS: Final = 25_000
"""Longest poll: proxies and load balancers cut silent requests after 30 s or more."""

_MOST_AHEAD: Final = 10**12
_MOST_RETRY_S: Final = 1e9

_Placed = Annotated[int, msgspec.Meta(ge=0, le=MOST_PLACED)]
_Ids = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=128)], ...], msgspec.Meta(max_length=MOST_IDS)]
T = TypeVar("T")


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message; fields may be added at its end, with a default."""


class TenantOf(msgspec.Struct, frozen=True, array_like=True):
    """Tenant of any message to a relay; what follows it is skipped, not decoded."""

    tenant: Name


class SubmittedEnvelope(_Message, frozen=True):
    """One sealed envelope, and what its client wants beside it."""

    sealed: Annotated[bytes, msgspec.Meta(max_length=MAX_SEALED_BYTES)]
    priority: Priority
    receipt: bool


class SubmitRequest(_Message, frozen=True):
    """Envelopes of one tenant."""

    tenant: Name
    envelopes: Annotated[tuple[SubmittedEnvelope, ...], msgspec.Meta(min_length=1, max_length=MOST_JOBS)]


class SubmitReply(_Message, frozen=True):
    """The queue's answer to one envelope; ``result``: arq's bytes, of a job that is done."""

    status: SubmitStatus
    result: bytes | None
    refusal: WireError | None
    confirmed: bool


class SubmitAnswer(_Message, frozen=True):
    """One reply per envelope, in order, and the capacity left: digests, bytes, digests of the day's budget."""

    replies: tuple[SubmitReply, ...]
    room: tuple[int | None, int | None, int | None]

    @classmethod
    def of(cls, receipts: Receipts) -> SubmitAnswer:
        """The answer with these receipts."""
        room = receipts.room
        return cls(
            tuple(
                SubmitReply(
                    each.accepted,
                    each.result,
                    None if each.refusal is None else WireError.of(each.refusal),
                    each.confirmed,
                )
                for each in receipts
            ),
            (room.backlog_digests, room.backlog_bytes, room.budget_digests),
        )

    def receipts(self) -> Receipts:
        """The receipts, as Redis would have given them."""
        digests, size_bytes, budget = self.room
        return Receipts(
            [
                Receipt(
                    each.status,
                    each.result,
                    None if each.refusal is None else each.refusal.error(),
                    each.confirmed,
                )
                for each in self.replies
            ],
            RemainingCapacity(backlog_digests=digests, backlog_bytes=size_bytes, budget_digests=budget),
        )


class DirectoryAnswer(_Message, frozen=True):
    """The signed key directory, and the clock of Redis (Unix ms), both as the relay reads them now; None where there is none."""

    sealed: bytes | None
    time_ms: int | None

    @classmethod
    def of(cls, published: PublishedDirectory) -> DirectoryAnswer:
        """The answer with this directory."""
        return cls(published.sealed, published.time_ms)

    def published(self) -> PublishedDirectory:
        """The directory, as Redis would have given it."""
        return PublishedDirectory(self.sealed, self.time_ms)


class PollRequest(_Message, frozen=True):
    """Wait for results of these jobs. ``check``: also say at once which of them the queue does not have."""

    tenant: Name
    job_ids: _Ids
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MOST_WAIT_MS)]
    check: bool = False


class PollAnswer(_Message, frozen=True):
    """Results by job id, and the jobs that the queue has neither done nor waiting."""

    results: dict[str, bytes]
    unknown: tuple[str, ...]


class IdsRequest(_Message, frozen=True):
    """Jobs of one tenant."""

    tenant: Name
    job_ids: _Ids


class CancelRequest(_Message, frozen=True):
    """Jobs that a client wants removed; ``client``: the owner of its envelopes (``queueing.protocol.grants.owners``)."""

    tenant: Name
    client: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,544}\Z")]
    job_ids: _Ids


class JobStateMessage(_Message, frozen=True):
    """``queueing.broker.job_values.QueuedState`` of one job."""

    result: bytes | None
    has_job: bool
    due_ms: float | None
    leased: bool

    @classmethod
    def of(cls, state: QueuedState) -> JobStateMessage:
        """The message of this state."""
        return cls(state.result, state.has_job, state.due_ms, state.leased)

    def state(self) -> QueuedState:
        """The state."""
        return QueuedState(self.result, self.has_job, self.due_ms, self.leased)


class WaitingAnswer(_Message, frozen=True):
    """``queueing.client.delivery.queue_access.QueueWait`` of some jobs, without names of hosts and tokens."""

    queued: _Placed
    in_work: _Placed
    ahead: Annotated[int, msgspec.Meta(ge=0, le=_MOST_AHEAD)] | None
    retry_in_s: Annotated[float, msgspec.Meta(ge=0, le=_MOST_RETRY_S)] | None
    hindrance: Hindrance | None

    @classmethod
    def of(cls, wait: QueueWait) -> WaitingAnswer:
        """The answer with this reason."""
        place, hindrance = wait.position, wait.hindrance
        return cls(
            place.queued,
            place.in_work,
            place.ahead,
            place.retry_in_s,
            None if hindrance is None else hindrance.without_names(),
        )

    def wait(self) -> QueueWait:
        """The reason."""
        position = QueuePosition(
            queued=self.queued, in_work=self.in_work, ahead=self.ahead, retry_in_s=self.retry_in_s
        )
        return QueueWait(position, self.hindrance)


def encoded(message: object) -> bytes:
    """A message, or a list of plain values, as bytes."""
    return msgspec.msgpack.encode(message)


def decoded(raw: bytes, kind: type[T]) -> T:
    """Read a message; raises ``EnvelopeMalformed`` (final), which repeats none of its bytes."""
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.MsgspecError as error:
        raise EnvelopeMalformed(f"the message cannot be read: {_problem(error)}") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeMalformed(f"the message cannot be read: {type(error).__name__}") from None


def _problem(error: msgspec.MsgspecError) -> str:
    """Sentence of msgspec without the value, which it quotes where it is none of an enumeration."""
    said, _, place = str(error).rpartition(" - at ")
    return f"Invalid enum value - at {place}" if said.startswith("Invalid enum value") else str(error)
