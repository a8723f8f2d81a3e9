"""Execution of a chunk in the lane: cut into runs for the session threads, answered when the last run is done."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from queueing.errors import SigningError
from queueing.protocol.jobs import WireError
from workers.journal.event_records import KeyOperations
from workers.lanes.operations import OperationCounts
from workers.lanes.protocol import Outcomes, SliceOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.protocol.algorithms import Algorithm
    from workers.config.tenants import KeyVersion
    from workers.lanes.authorisation import Authorised

RUN_TARGET_S: Final = 0.005
"""Time of a run: long against a thread's wake-up (43 us), short against a chunk (20 ms)."""

MOST_PER_RUN: Final = 64
"""Above this a longer run saves nothing (performance study, 2)."""

Outcome = bytes | SigningError


class Run:
    """Digests of one key version and algorithm for one thread, of one slice or of many small ones.

    ``done`` fills up in order; the watchdog also reads it to see progress. ``sign_s``, ``verify_s``: time taken; ``calls``: calls of
    C_Sign, of all tries together.
    """

    __slots__ = (
        "_chunk",
        "algorithm",
        "calls",
        "digests",
        "done",
        "key_version",
        "sign_s",
        "tries",
        "verify_s",
    )

    def __init__(self, chunk: ChunkExecution, algorithm: Algorithm, key_version: KeyVersion) -> None:
        self._chunk = chunk
        self.algorithm = algorithm
        self.key_version = key_version
        self.digests: list[bytes] = []
        self.done: list[Outcome] = []
        self.tries = 0
        self.calls = 0
        self.sign_s = 0.0
        self.verify_s = 0.0

    @property
    def policy_version(self) -> int:
        """Version of the policy by which its digests were authorised."""
        return self._chunk.policy_version

    @property
    def left(self) -> Sequence[bytes]:
        """Digests without an outcome."""
        return self.digests[len(self.done) :] if self.done else self.digests

    def fail_rest(self, error: SigningError) -> None:
        """Fail every digest without an outcome with this error."""
        self.done.extend([error] * (len(self.digests) - len(self.done)))

    def finish(self) -> None:
        """Report that all digests have an outcome."""
        self._chunk.run_finished()


class SliceExecution:
    """Execution of one slice of a chunk: refused whole, or signed in one or more runs."""

    __slots__ = ("_spans", "authorised", "count", "error", "first")

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.count = count
        self.error: SigningError | None = None
        self.authorised: Authorised | None = None
        self._spans: list[tuple[Run, int, int]] = []  # run, first digest in it, count

    def add_span(self, run: Run, digests: Sequence[bytes]) -> None:
        """Sign its next digests in this run."""
        self._spans.append((run, len(run.digests), len(digests)))
        run.digests += digests

    def outcome(self) -> SliceOutcome:
        """Outcome of the slice, when its runs are finished."""
        if self.error is not None or self.authorised is None:
            return SliceOutcome(error=WireError.of(self.error or SigningError()))
        done = [outcome for run, start, count in self._spans for outcome in run.done[start : start + count]]
        version = self.authorised.key_version
        return SliceOutcome(
            error=None,
            key_version=version.version,
            public_key_sha256=version.public_key.sha256,
            signatures=tuple([o if isinstance(o, bytes) else None for o in done]),
            errors={i: WireError.of(o) for i, o in enumerate(done) if isinstance(o, SigningError)},
        )


class OutcomesReceiver(Protocol):
    """Receiver of the outcomes of a chunk."""

    def send(self, message: Outcomes, /) -> None:
        """Send the outcomes to the worker; called by the thread that finished the last run."""


class ChunkExecution:
    """Slices of a chunk, and the number of their runs that are not finished.

    ``policy_version`` is that of the policy by which the slices are authorised.
    """

    def __init__(self, chunk_id: int, receiver: OutcomesReceiver, *, policy_version: int = 0) -> None:
        self._id = chunk_id
        self.policy_version = policy_version
        self._receiver = receiver
        self._lock = threading.Lock()
        self._unfinished = 0
        self._runs: list[Run] = []
        self._started = time.monotonic()
        self.slices: list[SliceExecution] = []

    def add_slice(self, first: int, count: int) -> SliceExecution:
        """Add a slice, in order: ``count`` digests of its envelope from ``first`` on."""
        slice_ = SliceExecution(first, count)
        self.slices.append(slice_)
        return slice_

    def cut(self, run_length: RunLength) -> list[Run]:
        """Every run of the authorised slices, in order; to be called once, before any is started.

        Small slices of one key share a run, long ones are spread over several. A chunk without a run is answered.
        """
        groups: dict[tuple[Algorithm, bytes], list[tuple[SliceExecution, Authorised]]] = {}
        for slice_ in self.slices:
            if slice_.authorised is not None:
                authorised = slice_.authorised
                key = (authorised.algorithm, authorised.key_version.public_key.sha256)
                groups.setdefault(key, []).append((slice_, authorised))
        runs: list[Run] = []
        for (algorithm, _), members in groups.items():
            longest = run_length.for_digests(algorithm, sum(slice_.count for slice_, _ in members))
            runs += self._cut_group(algorithm, members[0][1].key_version, members, longest)
        self._runs = runs
        self._unfinished = len(runs)
        if not runs:
            self._receiver.send(self._outcomes())
        return runs

    def _cut_group(
        self,
        algorithm: Algorithm,
        version: KeyVersion,
        members: Sequence[tuple[SliceExecution, Authorised]],
        longest: int,
    ) -> list[Run]:
        runs = [Run(self, algorithm, version)]
        for slice_, authorised in members:
            start, end = slice_.first, slice_.first + slice_.count
            while start < end:
                free = longest - len(runs[-1].digests)
                if free <= 0:
                    runs.append(Run(self, algorithm, version))
                    free = longest
                slice_.add_span(runs[-1], authorised.digests[start : min(start + free, end)])
                start += free
        return runs

    def run_finished(self) -> None:
        """Count a finished run, called by its thread; the last one answers the chunk."""
        with self._lock:
            self._unfinished -= 1
            last = self._unfinished == 0
        if last:
            self._receiver.send(self._outcomes())

    def _outcomes(self) -> Outcomes:
        seconds = time.monotonic() - self._started
        return Outcomes(
            id=self._id,
            items=tuple([slice_.outcome() for slice_ in self.slices]),
            seconds=seconds,
            sign_s=sum([run.sign_s for run in self._runs]),
            verify_s=sum([run.verify_s for run in self._runs]),
            operations=self._operations(),
        )

    def _operations(self) -> tuple[KeyOperations, ...]:
        counts = OperationCounts()
        for run in self._runs:
            counts.add([KeyOperations(run.key_version.key, run.key_version.version, run.calls)])
        return counts.take()


class RunLength:
    """Number of digests in a run, from the measured time of a signature; per algorithm."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._seconds: dict[Algorithm, float] = {}

    def measured(self, algorithm: Algorithm, digests: int, seconds: float) -> None:
        """Record the time of a run; a moving average over about ten."""
        each = seconds / digests
        before = self._seconds.get(algorithm, each)
        self._seconds[algorithm] = before + 0.1 * (each - before)

    def for_digests(self, algorithm: Algorithm, digests: int) -> int:
        """Digests in a run so that every thread has one and none is much longer than the target."""
        share = -(-digests // self._threads)
        each = self._seconds.get(algorithm)
        longest = 4 if each is None else int(RUN_TARGET_S / each) if each > 0 else MOST_PER_RUN
        return max(1, min(share, longest, MOST_PER_RUN))
