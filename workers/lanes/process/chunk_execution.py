"""A chunk in the lane: cut into runs for the session threads, put together when the last one is done."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from queueing.errors import SigningError
from queueing.protocol.jobs import WireError
from workers.lanes.protocol import Outcomes, SliceOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queueing.protocol.algorithms import Algorithm
    from workers.config.tenants import KeyVersion
    from workers.lanes.authorisation import Authorised

RUN_TARGET_S: Final = 0.005
"""A run is as long as this: long against a thread's wake-up (43 us), short against a chunk (20 ms)."""

MOST_PER_RUN: Final = 64
"""Above this a longer run saves nothing (performance study, 2)."""

Outcome = bytes | SigningError


class Run:
    """Digests of one key version and algorithm for one thread, of one item or of many small ones.

    ``done`` fills up in order; it is the watchdog's sign of life too. ``sign_s``, ``verify_s``: what it took.
    """

    __slots__ = ("_chunk", "algorithm", "digests", "done", "key_version", "sign_s", "tries", "verify_s")

    def __init__(self, chunk: ChunkExecution, algorithm: Algorithm, key_version: KeyVersion) -> None:
        self._chunk = chunk
        self.algorithm = algorithm
        self.key_version = key_version
        self.digests: list[bytes] = []
        self.done: list[Outcome] = []
        self.tries = 0
        self.sign_s = 0.0
        self.verify_s = 0.0

    @property
    def generation(self) -> int:
        """Of the rules under which its digests were authorised."""
        return self._chunk.generation

    @property
    def left(self) -> Sequence[bytes]:
        """The digests that have no outcome yet."""
        return self.digests[len(self.done) :] if self.done else self.digests

    def fail_rest(self, error: SigningError) -> None:
        """The same error for every digest that is left."""
        self.done.extend([error] * (len(self.digests) - len(self.done)))

    def finish(self) -> None:
        """All digests have an outcome: hand over."""
        self._chunk.run_finished()


class SliceExecution:
    """One item of a chunk: refused whole, or signed in pieces of runs."""

    __slots__ = ("_pieces", "authorised", "count", "error", "first")

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.count = count
        self.error: SigningError | None = None
        self.authorised: Authorised | None = None
        self._pieces: list[tuple[Run, int, int]] = []

    def add_piece(self, run: Run, digests: Sequence[bytes]) -> None:
        """Its next digests are signed in this run."""
        self._pieces.append((run, len(run.digests), len(digests)))
        run.digests += digests

    def outcome(self) -> SliceOutcome:
        """The answer for this item, when its runs are finished."""
        if self.error is not None or self.authorised is None:
            return SliceOutcome(error=WireError.of(self.error or SigningError()))
        done = [outcome for run, start, count in self._pieces for outcome in run.done[start : start + count]]
        version = self.authorised.key_version
        return SliceOutcome(
            error=None,
            key_version=version.version,
            public_key_sha256=version.public_key.sha256,
            signatures=tuple([o if isinstance(o, bytes) else None for o in done]),
            errors={i: WireError.of(o) for i, o in enumerate(done) if isinstance(o, SigningError)},
        )


class ChunkExecution:
    """All items of a chunk, and how many of their runs are not finished.

    ``generation`` is that of the rules under which the items are judged.
    """

    def __init__(self, chunk_id: int, answer: Callable[[Outcomes], None], *, generation: int = 0) -> None:
        self._id = chunk_id
        self.generation = generation
        self._answer = answer
        self._lock = threading.Lock()
        self._unfinished = 0
        self._runs: list[Run] = []
        self._started = time.monotonic()
        self.parts: list[SliceExecution] = []

    def add_part(self, first: int, count: int) -> SliceExecution:
        """One more item, in order: ``count`` digests of its envelope from ``first`` on."""
        part = SliceExecution(first, count)
        self.parts.append(part)
        return part

    def cut(self, run_length: RunLength) -> list[Run]:
        """Every run of the items that were authorised, in order; to be called once, before any is started.

        Small items of one key share a run, long ones are spread over several. With no run the chunk is answered.
        """
        groups: dict[tuple[Algorithm, bytes], list[tuple[SliceExecution, Authorised]]] = {}
        for part in self.parts:
            if part.authorised is not None:
                authorised = part.authorised
                key = (authorised.algorithm, authorised.key_version.public_key.sha256)
                groups.setdefault(key, []).append((part, authorised))
        runs: list[Run] = []
        for (algorithm, _), members in groups.items():
            longest = run_length.for_digests(algorithm, sum(part.count for part, _ in members))
            runs += self._cut_group(algorithm, members[0][1].key_version, members, longest)
        self._runs = runs
        self._unfinished = len(runs)
        if not runs:
            self._answer(self._outcomes())
        return runs

    def _cut_group(
        self,
        algorithm: Algorithm,
        version: KeyVersion,
        members: Sequence[tuple[SliceExecution, Authorised]],
        longest: int,
    ) -> list[Run]:
        runs = [Run(self, algorithm, version)]
        for part, authorised in members:
            start, end = part.first, part.first + part.count
            while start < end:
                room = longest - len(runs[-1].digests)
                if room <= 0:
                    runs.append(Run(self, algorithm, version))
                    room = longest
                part.add_piece(runs[-1], authorised.digests[start : min(start + room, end)])
                start += room
        return runs

    def run_finished(self) -> None:
        """Called by the thread that finished a run; the last one answers the chunk."""
        with self._lock:
            self._unfinished -= 1
            last = self._unfinished == 0
        if last:
            self._answer(self._outcomes())

    def _outcomes(self) -> Outcomes:
        seconds = time.monotonic() - self._started
        return Outcomes(
            id=self._id,
            items=tuple([part.outcome() for part in self.parts]),
            seconds=seconds,
            sign_s=sum([run.sign_s for run in self._runs]),
            verify_s=sum([run.verify_s for run in self._runs]),
        )


class RunLength:
    """How many digests a run should have, from the measured time of a signature; per algorithm."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._seconds: dict[Algorithm, float] = {}

    def measured(self, algorithm: Algorithm, digests: int, seconds: float) -> None:
        """Note a run; a moving average over about ten."""
        each = seconds / digests
        before = self._seconds.get(algorithm, each)
        self._seconds[algorithm] = before + 0.1 * (each - before)

    def for_digests(self, algorithm: Algorithm, digests: int) -> int:
        """Every thread gets something; no run is much longer than the target."""
        share = -(-digests // self._threads)
        each = self._seconds.get(algorithm)
        longest = 4 if each is None else int(RUN_TARGET_S / each) if each > 0 else MOST_PER_RUN
        return max(1, min(share, longest, MOST_PER_RUN))
