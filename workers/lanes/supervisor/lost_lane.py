"""Lost lane: the cause of its end, who is blamed for it, and what follows for the chunks that it had. Pure.

1. ``process_group.LaneProcesses`` sees the end and has it classified: ``classify_exit`` tells a crash from an HSM fault, from
   a token that cannot be used, and from an order to stop.
2. ``chunk_scheduler.ChunkScheduler`` takes the chunks back, by ``LostChunks.take_back``, and puts them before what waits. After a
   crash or a fault only the chunk that was being signed is suspect. The next lane signs the others; where the circuit breaker
   opens, their jobs are requeued.
3. A suspect is signed alone, so that no other job is blamed. A job that crashed ``poison_attempts`` lanes becomes a dead letter;
   one over which the HSM failed ``MOST_FAULTS`` times is requeued, perhaps for another host (``workers.pipeline.retry``).
4. Lanes that end in a row by a crash or a fault, with no signature in between, are blamed on the token (``TokenBlame``), and no
   further job becomes a dead letter for that. ``LostChunks.token_after`` says what the token is good for: ``token_pool.TokenPool.lane_ended`` opens its
   circuit breaker (``circuit_breaker``), or starts another lane.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from workers.lanes.exit_codes import LaneExit
from workers.lanes.protocol import OPEN_CIRCUIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workers.lanes.protocol import LaneFailure
    from workers.lanes.supervisor.batching import Slice
    from workers.lanes.supervisor.connection import ChunkSent

INVALID_ANSWER: Final = "invalid_answer"
"""Reason of a lane that the worker killed over an invalid message."""

MOST_FAULTS: Final = 2
"""The HSM may fail so often over the same digests on this host; then their job is requeued, perhaps for another host."""

CRASHES_IN_A_ROW: Final = 3
"""Lanes of a token that may end by a crash or a fault in a row, whatever their jobs; as many as the default of ``poison_attempts``, which limits
those of one job. After that the circuit breaker opens; when it has closed again the first crash opens it, until the token has
signed something."""

MOST_JOBS: Final = 1024
"""Jobs in the crash history; beyond that the oldest is forgotten, and starts with no crashes."""


class Cause(Enum):
    """Cause of a lane's exit.

    ASKED  it was told to stop, or did not answer a reload; neither job nor token is to blame
    TOKEN  the token cannot be used, or the host has no lane for it: the circuit breaker opens for a pause
    PIN    the token refused the PIN: the circuit breaker stays open until an operator has replaced it; that of a host-started
           lane closes after a pause, since only the lane can see whether the PIN was replaced
    FAULT  the HSM failed or hung, or the lane sent an invalid message; no job is to blame for that
    CRASH  the process crashed, with or without work: a signal, or an exit code that is not a lane's
    """

    ASKED = "asked"
    TOKEN = "token"  # noqa: S105 - no password
    PIN = "pin"
    FAULT = "fault"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Cause of an exit; ``reason`` for label, log and dead letter; ``code``: exit code, None for a host-started lane."""

    cause: Cause
    reason: str
    code: int | None = None


class TokenAfter(Enum):
    """Use of a token after the end of one of its lanes.

    USED         another lane is started when there is work
    NOT_STARTED  the lane was not logged in: the circuit breaker opens, unless another lane is logged in
    FAILED       the circuit breaker opens for a pause
    PIN_REFUSED  the circuit breaker opens until the PIN was replaced
    """

    USED = "used"
    NOT_STARTED = "not_started"
    FAILED = "failed"
    PIN_REFUSED = "pin_refused"


def classify_exit(
    *, code: int | None, failure: LaneFailure | None, asked: bool, killed_as: str, ready: bool
) -> ExitReason:
    """Classify by the failure that the lane reported and by its exit code.

    ``killed_as``: reason for which the worker killed it (``silent`` or ``INVALID_ANSWER``), else empty.

    A lane that exited before it had logged in had no work: the token is to blame, unless another lane is logged in.
    """
    action = failure.action if failure is not None else ""
    if asked:
        cause = Cause.ASKED
    elif code == LaneExit.PIN or (failure is not None and failure.pin_failure):
        cause = Cause.PIN
    elif not ready or action == OPEN_CIRCUIT or code in {LaneExit.CIRCUIT, LaneExit.CONFIG}:
        cause = Cause.TOKEN
    elif failure is not None or killed_as or code == LaneExit.REPLACE:
        cause = Cause.FAULT
    else:
        cause = Cause.CRASH
    return ExitReason(cause, _reason(code, failure, killed_as), code)


def _reason(code: int | None, failure: LaneFailure | None, killed_as: str) -> str:
    if failure is not None:
        return failure.code_name
    if killed_as:
        return killed_as
    if code is None:
        return "disconnected"
    return f"signal_{-code}" if code < 0 else f"exit_{code}"


class LostChunks:
    """Decides for each slice of a lost lane whether it is signed again; keeps the crashes of token and jobs.

    ``poison_crashes``: a job that crashed so many lanes is given up.
    """

    def __init__(self, *, poison_crashes: int) -> None:
        self._poison_crashes = poison_crashes
        self.token = TokenBlame()
        self.jobs = JobCrashHistory()

    @property
    def has_history(self) -> bool:
        """Whether a crash is on record against the token, or a job."""
        return self.token.has_crashes or bool(self.jobs)

    def forget_crashes(self) -> None:
        """Forget the crashes of token and jobs: they were long ago."""
        self.token, self.jobs = TokenBlame(), JobCrashHistory()

    def take_back(self, chunks: Iterable[ChunkSent], end: ExitReason) -> Iterator[Slice]:
        """Slices to be signed again, in order, of a lane's ``chunks``, oldest first; the others' jobs are told why not.

        A job that needs no more signatures is neither signed again nor blamed.
        """
        is_blamed = end.cause in {Cause.FAULT, Cause.CRASH}
        if is_blamed:
            self.token.record_crash()
        for position, chunk in enumerate(chunks):
            for slice_ in chunk.slices:
                slice_.job.slice_in_doubt(slice_.count)
                if not slice_.job.needs_signatures:
                    slice_.job.slice_skipped(slice_.count)
                elif not (is_blamed and position == 0) or self._retry_or_give_up(slice_, end):
                    yield slice_

    def token_after(self, end: ExitReason, *, was_ready: bool) -> TokenAfter:
        """Use of the token after this end of a lane, whose chunks were taken back before."""
        if end.cause is Cause.PIN:
            return TokenAfter.PIN_REFUSED
        if self.token.too_many_crashes or (end.cause is Cause.TOKEN and was_ready):
            return TokenAfter.FAILED
        return TokenAfter.NOT_STARTED if end.cause is Cause.TOKEN else TokenAfter.USED

    def _retry_or_give_up(self, slice_: Slice, end: ExitReason) -> bool:
        """Retry a suspect alone (True), unless it crashed too many lanes or the HSM failed too often."""
        slice_.alone = True
        if end.cause is Cause.CRASH:
            slice_.crashes += (end.reason,)
            if len(slice_.crashes) >= self._poison_crashes and self.token.may_blame_job:
                self.token.blame_job()
                self.jobs.forget(slice_.job.job_id)
                slice_.job.slice_poisoned(slice_.first, slice_.count, slice_.crashes)
                return False
            self.jobs.record(slice_)
        else:
            slice_.faults += 1
            self.jobs.record(slice_)
            if slice_.faults >= MOST_FAULTS:
                slice_.job.slice_faulted(slice_.first, slice_.count)
                return False
        return True


class TokenBlame:
    """Crashes of lanes that are blamed on their token."""

    def __init__(self) -> None:
        self._crashes = 0
        self._on_probation = False
        self._blamed_job_unproven = False

    @property
    def too_many_crashes(self) -> bool:
        """Whether too many lanes have crashed in a row."""
        return self._crashes >= (1 if self._on_probation else CRASHES_IN_A_ROW)

    @property
    def has_crashes(self) -> bool:
        """Whether a crash since the last signature counts against the token."""
        return self._on_probation or self._crashes > 0

    @property
    def may_blame_job(self) -> bool:
        """Whether a job that crashed too many lanes may become a dead letter: one, until the token has signed another.

        A module that crashes at every call would otherwise make a dead letter of every job.
        """
        return not self._blamed_job_unproven

    def blame_job(self) -> None:
        """Note that a job became a dead letter; the crashes so far no longer count against the token."""
        self._blamed_job_unproven = True
        self._crashes = 0

    def record_crash(self) -> None:
        """Record that a lane ended by a crash, with or without work, or by a fault."""
        self._crashes += 1

    def record_signature(self) -> None:
        """The token has signed: nothing counts against it, and the blame of the job was right."""
        self._crashes = 0
        self._on_probation = self._blamed_job_unproven = False

    def circuit_opened(self) -> None:
        """The circuit breaker has opened: when it closes, the next crash opens it again."""
        self._crashes = 0
        self._on_probation = True


class JobCrashHistory:
    """Crashes and HSM faults of each job, kept also while the job is back in the queue."""

    def __init__(self) -> None:
        self._jobs: dict[bytes, tuple[tuple[str, ...], int]] = {}

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def record(self, slice_: Slice) -> None:
        """Keep the crashes and faults of this slice for its job."""
        self._jobs.pop(slice_.job.job_id, None)
        if len(self._jobs) >= MOST_JOBS:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[slice_.job.job_id] = (slice_.crashes, slice_.faults)

    def apply_to(self, slice_: Slice) -> None:
        """Give a slice the history of its job; with one it is signed alone."""
        known = self._jobs.get(slice_.job.job_id)
        if known is not None:
            slice_.crashes, slice_.faults = known
            slice_.alone = True

    def forget(self, job_id: bytes) -> None:
        """Remove a job that has its outcome."""
        self._jobs.pop(job_id, None)
