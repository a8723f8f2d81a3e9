"""Claimed job, from its claim to its result or return.

ActiveJob  one leased job: the outcome of each digest, and the result in the end
JobSink    where a finished job goes: its result is published, or it is returned to the queue
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from queueing.errors import (
    HsmFault,
    JobExpired,
    JobPoisoned,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol.jobs import (
    JobHints,
    ReceiptNotice,
    WireError,
    content_hash,
)
from queueing.unix_time import unix_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.broker.claims import ClaimedJob
    from queueing.protocol.envelope import Envelope
    from queueing.protocol.grants.grant import Grant
    from workers.lanes.protocol import SliceOutcome


class Ending(Enum):
    """The two ways a job leaves this worker."""

    RESULT = "result"
    RETURN = "return"


class JobSink(Protocol):
    """Receiver of finished jobs: publishes their results (``ResultPublisher``), or returns them (``JobReturner``)."""

    def finished(self, job: ActiveJob) -> None:
        """Take over a job that has all its outcomes, or one error for all of it; called once per job, must not block.

        Lanes may still have slices of a job that ended by an error: what they answer later changes nothing any more.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSinks:
    """Sinks of a worker's jobs, one for each ``Ending``."""

    results: JobSink
    returns: JobSink


class ActiveJob:
    """One leased job. The lanes report slices of it; when all are in, or one error ends it, it goes to its sink, once.

    ``delayed``: it was tried, and would fail again at once; a job that no lane had keeps its place in the queue.
    ``turned_back``: it was not given to a lane, because none may have it now. ``authenticated``: the worker knows that a
    client of the tenant has signed it; ``intended``: the log has its intent. ``receipt``: the answer to a client that wants one. ``dropped``: signatures that lanes made, or may
    have made, and that are not in the result. Once it has ended, lanes get no more of it, and their answers change nothing.
    """

    __slots__ = (
        "_content",
        "_in_lanes",
        "_left",
        "_reported",
        "_sinks",
        "authenticated",
        "claimed",
        "cost",
        "cost_taken_at_s",
        "delayed",
        "dropped",
        "enqueued_at_ms",
        "envelope",
        "epoch",
        "errors",
        "failure",
        "grant",
        "hints",
        "intended",
        "key_version",
        "lane_ends",
        "maybe_signed",
        "owed_cost",
        "owed_digests",
        "public_key_sha256",
        "receipt",
        "sealed",
        "signatures",
        "started_ms",
        "turned_back",
        "unavailable",
    )

    def __init__(self, claimed: ClaimedJob, sinks: JobSinks) -> None:
        self.claimed = claimed
        self._sinks = sinks
        self.started_ms = unix_ms()
        self.sealed = self.public_key_sha256 = b""
        self.envelope: Envelope | None = None
        self.grant: Grant | None = None  # its signature is verified
        self._content: bytes | None = None
        self.hints = JobHints()
        self.enqueued_at_ms = self.started_ms
        self.signatures: list[bytes | None] = []
        self.errors: dict[int, WireError] = {}  # of single digests, by their place in the job
        self._left = 0  # digests that are not settled
        self._in_lanes = 0
        self._reported = False
        self.unavailable: SigningError | None = None
        self.failure: SigningError | None = None
        self.epoch: int | None = (
            None  # oldest of the tenant's files that judged it here; below 1: there was none
        )
        self.delayed = self.turned_back = False
        self.authenticated = self.intended = self.maybe_signed = False
        self.lane_ends: tuple[str, ...] = ()
        self.receipt = ReceiptNotice.NONE
        self.cost = self.owed_cost = self.cost_taken_at_s = 0.0
        self.key_version = self.dropped = self.owed_digests = 0

    def set_content(self, sealed: bytes, envelope: Envelope, hints: JobHints, enqueued_at_ms: int) -> None:
        """Set the content of the payload."""
        self.sealed = sealed
        self.envelope = envelope
        self._content = None
        self.hints = hints
        self.enqueued_at_ms = enqueued_at_ms
        self._left = len(envelope.digests)
        self.signatures = [None] * self._left

    @property
    def content(self) -> bytes:
        """Hash of the envelope's content, calculated once; of the job's unsigned hint where there is no envelope."""
        if self.envelope is None:
            return self.hints.h
        if self._content is None:
            self._content = content_hash(self.envelope)
        return self._content

    @property
    def job_id(self) -> bytes:
        """Id of the job, as Redis holds it."""
        return self.claimed.job_id

    @property
    def digests(self) -> int:
        """Number of digests; 1 while the envelope is not read, or cannot be."""
        return len(self.signatures) or 1

    @property
    def recorded(self) -> bool:
        """Whether its outcome or return goes into the log: not if that came before a client was established."""
        signed = self.failure is None and self.unavailable is None
        return self.intended or self.authenticated or signed

    @property
    def ending(self) -> Ending:
        """``RETURN`` when its token became unavailable, else ``RESULT``."""
        return Ending.RETURN if self.unavailable is not None and self.failure is None else Ending.RESULT

    def replace_result(self, error: SigningError) -> None:
        """Make ``error`` the result of a finished job: its own cannot be published."""
        self.failure = error
        self._drop()

    def fail(self, error: SigningError) -> None:
        """Refuse the whole job: ``error`` is its result."""
        self.failure = error
        self._report()

    def return_refused(self, error: SigningError) -> None:
        """Return a refused job to the queue instead of its refusal, because of ``error``; called by its ``JobSink`` of results."""
        self.failure, self.delayed = None, True
        self._requeue_over(error)
        self._sinks.returns.finished(self)

    def requeue(self, error: SigningError) -> None:
        """Return the whole job to the queue, unsigned and a little later, because of ``error``."""
        self.unavailable, self.delayed, self.turned_back = error, True, True
        self._report()

    @property
    def needs_signatures(self) -> bool:
        """Whether digests of it that no lane has are still to be signed: not once it has ended, or will be requeued."""
        return not self._reported and self.unavailable is None

    def slice_sent(self, count: int) -> None:
        """Record that a lane gets ``count`` of the digests."""
        self._in_lanes += count

    def slice_skipped(self, count: int) -> None:
        """Settle ``count`` digests that no lane gets any more."""
        self._settle(count)

    def slice_done(self, first: int, outcome: SliceOutcome) -> None:
        """Record a lane's outcome for the digests from ``first`` on."""
        if self._reported:
            return
        self._in_lanes -= len(outcome.signatures)
        self.maybe_signed = True
        if self._is_of_another_version(outcome):
            # The key was rotated between two slices; a result has one version.
            self._requeue_over(TokenUnavailable("the key was rotated while the job was signed"))
            self.delayed = True
            self._settle(len(outcome.signatures))
            return
        self.key_version = outcome.key_version
        self.public_key_sha256 = outcome.public_key_sha256
        self.signatures[first : first + len(outcome.signatures)] = outcome.signatures
        for i, note in outcome.errors.items():
            error = note.error()
            if error.retryable:
                self._requeue_over(error)
                self.delayed = True
            self.errors[first + i] = note
        self._settle(len(outcome.signatures))

    def _is_of_another_version(self, outcome: SliceOutcome) -> bool:
        return bool(self.public_key_sha256) and outcome.public_key_sha256 != self.public_key_sha256

    def slice_refused(self, first: int, count: int, error: SigningError, by: int | None = None) -> None:
        """End the whole job: a lane refused its envelope with this ``error`` by a file of the epoch ``by``, and signed none of it."""
        del first
        self.epoch = min((each for each in (self.epoch, by) if each is not None), default=None)
        self._in_lanes -= count
        self._end_whole(error)

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None:
        """Fail the job: each lane that processed a slice of it exited (``lane_ends``)."""
        del first, count
        if not self._reported:
            self.lane_ends = tuple(lane_ends)
        self._end_whole(JobPoisoned("the job ended its lane each time it was tried"))

    def slice_faulted(self, first: int, count: int) -> None:
        """Return the job: the HSM failed on ``count`` of its digests, which may have been signed."""
        del first
        if not self._reported:
            self.delayed = True
            self._requeue_over(HsmFault())
        self._settle(count)

    def slice_unavailable(self, first: int, count: int) -> None:
        """Return the job: the token became unavailable before ``count`` of its digests were signed."""
        del first
        if not self._reported:
            self._requeue_over(TokenUnavailable())
        self._settle(count)

    def slice_in_doubt(self, count: int) -> None:
        """Record that a lane exited while it had ``count`` of the digests: they may have been signed."""
        self._in_lanes -= count
        if not self._reported:
            self.maybe_signed = True
            self.dropped += count

    def _requeue_over(self, error: SigningError) -> None:
        """Return the job when it ends. A fault of the HSM outweighs other errors: its signatures may have been made."""
        if not isinstance(self.unavailable, HsmFault):
            self.unavailable = error

    def _end_whole(self, error: SigningError) -> None:
        """End the job, whatever other slices have: a lane may be signing them now, and the job does not wait for it."""
        if self._reported:
            return
        self.maybe_signed = self.maybe_signed or self._in_lanes > 0
        self.dropped += self._in_lanes
        self._drop()
        if error.retryable and not isinstance(error, JobExpired):
            self._requeue_over(error)
            self.delayed = True
        else:
            self.failure = error
        self._report()

    def _drop(self) -> None:
        """Count the signatures that the result will not have."""
        self.dropped += sum(signature is not None for signature in self.signatures)

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self._report()

    def _report(self) -> None:
        if not self._reported:
            self._reported = True
            sink = self._sinks.returns if self.ending is Ending.RETURN else self._sinks.results
            sink.finished(self)
