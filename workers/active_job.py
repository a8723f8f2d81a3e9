"""A claimed job from its claim to its result: which digests have an outcome, and what is published in the end."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING

from queueing.broker.dead_letters import DeadLetter, encode_letter
from queueing.errors import (
    HsmFault,
    JobExpired,
    JobPoisoned,
    LimitBacklog,
    LimitBudget,
    SigningError,
    TokenUnavailable,
)
from queueing.protocol import keyspace
from queueing.protocol.jobs import (
    ArqResult,
    JobHints,
    JobOutcome,
    ResultHints,
    WireError,
    content_hash,
    encode_result,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueing.broker.claims import ClaimedJob
    from queueing.protocol.envelope import Envelope
    from workers.lanes.protocol import SliceOutcome


class Ending(Enum):
    """How a job leaves this worker."""

    RESULT = "result"
    RETURN = "return"


class ActiveJob:
    """One leased job. The lanes report slices of it; when all are in, ``finished`` is called once.

    ``delayed``: it was tried, and would fail again at once; a job that no lane had keeps its place in the queue.
    ``turned_back``: it was not even given to a lane, for none may have it now.
    """

    __slots__ = (
        "_errors",
        "_finished",
        "_left",
        "_reported",
        "_started_ms",
        "claimed",
        "cost",
        "delayed",
        "enqueued_at_ms",
        "envelope",
        "failure",
        "hints",
        "key_version",
        "lane_ends",
        "maybe_signed",
        "owed_cost",
        "owed_digests",
        "public_key_sha256",
        "sealed",
        "signatures",
        "turned_back",
        "unavailable",
    )

    def __init__(self, claimed: ClaimedJob, finished: Callable[[ActiveJob], None]) -> None:
        self.claimed = claimed
        self._finished = finished
        self._started_ms = time.time_ns() // 1_000_000
        self.sealed = b""
        self.envelope: Envelope | None = None
        self.hints = JobHints()
        self.enqueued_at_ms = self._started_ms
        self.signatures: list[bytes | None] = []
        self._errors: dict[int, WireError] = {}
        self._left = 0
        self._reported = False
        self.unavailable: SigningError | None = None
        self.failure: SigningError | None = None
        self.key_version = 0
        self.public_key_sha256 = b""
        self.delayed = self.turned_back = False
        self.lane_ends: tuple[str, ...] = ()
        self.maybe_signed = False
        self.cost = self.owed_cost = 0.0
        self.owed_digests = 0

    def read_as(self, sealed: bytes, envelope: Envelope, hints: JobHints, enqueued_at_ms: int) -> None:
        """What the payload turned out to be."""
        self.sealed = sealed
        self.envelope = envelope
        self.hints = hints
        self.enqueued_at_ms = enqueued_at_ms
        self._left = len(envelope.digests)
        self.signatures = [None] * self._left

    @property
    def job_id(self) -> bytes:
        """As Redis holds it."""
        return self.claimed.job_id

    @property
    def digests(self) -> int:
        """How many digests it has; 1 where nobody can say."""
        return len(self.signatures) or 1

    @property
    def errors(self) -> dict[int, WireError]:
        """The digests that were refused one by one."""
        return self._errors

    @property
    def ending(self) -> Ending:
        """Whether it has a result, or goes back because its token went away."""
        return Ending.RETURN if self.unavailable is not None and self.failure is None else Ending.RESULT

    def fail(self, error: SigningError) -> None:
        """The whole job is refused."""
        self.failure = error
        self._report()

    def put_back(self, error: SigningError) -> None:
        """The whole job goes back to the queue, unsigned."""
        self.unavailable = error
        self.delayed = self.turned_back = True
        self._report()

    def slice_done(self, first: int, outcome: SliceOutcome) -> None:
        """The lane's outcome for the digests from ``first`` on."""
        if outcome.error is not None:
            error = outcome.error.error()
            self._whole(error)
            return
        self.maybe_signed = True
        if self._is_of_another_version(outcome):
            # The key was rotated between two slices; a result has one version.
            self.unavailable = TokenUnavailable("the key was rotated while the job was signed")
            self.delayed = True
            self._settle(len(outcome.signatures))
            return
        self.key_version = outcome.key_version
        self.public_key_sha256 = outcome.public_key_sha256
        self.signatures[first : first + len(outcome.signatures)] = outcome.signatures
        for i, note in outcome.errors.items():
            error = note.error()
            if error.retryable:
                self.unavailable = error
                self.delayed = True
            self._errors[first + i] = note
        self._settle(len(outcome.signatures))

    def _is_of_another_version(self, outcome: SliceOutcome) -> bool:
        return bool(self.public_key_sha256) and outcome.public_key_sha256 != self.public_key_sha256

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None:
        """Lane after lane ended over these digests."""
        del first, count
        self.maybe_signed = True
        self.lane_ends = tuple(lane_ends)
        self._whole(JobPoisoned("the job ended its lane each time it was tried"))

    def slice_faulted(self, first: int, count: int) -> None:
        """The HSM failed over these digests; the whole job goes back."""
        del first
        self.delayed = True
        self.maybe_signed = True
        self.unavailable = HsmFault()
        self._settle(count)

    def slice_unavailable(self, first: int, count: int) -> None:
        """The token went away; the whole job goes back."""
        del first
        self.unavailable = TokenUnavailable()
        self._settle(count)

    def slice_in_doubt(self) -> None:
        """A lane ended over some of the digests: they may have been signed."""
        self.maybe_signed = True

    def _whole(self, error: SigningError) -> None:
        if error.retryable and not isinstance(error, JobExpired):
            self.unavailable = error
            self.delayed = True
        elif self.failure is None:
            self.failure = error
        self._report()

    def _settle(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self._report()

    def _report(self) -> None:
        if not self._reported:
            self._reported = True
            self._finished(self)

    def result(self) -> bytes:
        """Arq's result: the outcome of each digest, or the one error of the job."""
        now_ms = time.time_ns() // 1_000_000
        failure = self.failure
        return encode_result(
            ArqResult(
                t=self.claimed.attempt,
                k=ResultHints(
                    h=self._content(), again=int(isinstance(failure, JobExpired | LimitBacklog | LimitBudget))
                ),
                et=self.enqueued_at_ms,
                s=failure is None,
                r=self._outcome() if failure is None else WireError.of(failure),
                st=self._started_ms,
                ft=now_ms,
                q=keyspace.queue(self.claimed.tenant),
                id=self.claimed.job_id.decode("utf-8", "replace"),
            )
        )

    def dead_letter(self, worker: str) -> bytes:
        """The job with the evidence, if the service gives it up; nothing if not."""
        failure, claimed, envelope = self.failure, self.claimed, self.envelope
        if not isinstance(failure, JobPoisoned) or envelope is None or claimed.payload is None:
            return b""
        return encode_letter(
            DeadLetter(
                reason=failure.reason,
                message=failure.message,
                at_ms=time.time_ns() // 1_000_000,
                worker=worker,
                attempts=claimed.attempt,
                crashes=claimed.crashes,
                lane_ends=self.lane_ends,
                key=envelope.key,
                algorithm=envelope.algorithm,
                client=envelope.client,
                digests=len(envelope.digests),
                enqueued_at_ms=self.enqueued_at_ms,
                expires_at_ms=envelope.expires_at_ms,
                payload=claimed.payload,
            )
        )

    def _content(self) -> bytes:
        """From the envelope; only where there is none, from what stood beside it."""
        return content_hash(self.envelope) if self.envelope is not None else self.hints.h

    def _outcome(self) -> JobOutcome:
        envelope = self.envelope
        if envelope is None:
            raise RuntimeError("a job without an envelope has no outcome")
        return JobOutcome(
            key=envelope.key,
            key_version=self.key_version,
            public_key_sha256=self.public_key_sha256,
            algorithm=envelope.algorithm,
            signatures=tuple(self.signatures),
            errors=self._errors,
        )
