"""Batching: slices of jobs with the same key and algorithm are put together into chunks. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queueing.errors import SigningError
    from workers.lanes.protocol import SliceOutcome

GROUPS_MEASURED: Final = 64
"""More than a tenant has key versions with algorithms; the group that was signed with longest ago is forgotten first."""

WORTH_DIVIDING_S: Final = 0.005
"""Time of a lane: a hundred times the cost of one more slice of an envelope (a verification, 60 us)."""


class SigningJob(Protocol):
    """Job as the lanes see it: its sealed envelope, and the receiver of the outcomes of its slices."""

    @property
    def job_id(self) -> bytes:
        """Id of the job, the same at each claim."""

    @property
    def sealed(self) -> bytes:
        """The sealed envelope."""

    @property
    def needs_signatures(self) -> bool:
        """Whether slices of it that no lane has are still to be signed: not once it has ended, or will be requeued."""

    def slice_sent(self, count: int) -> None:
        """A lane gets ``count`` of its digests."""

    def slice_skipped(self, count: int) -> None:
        """``count`` digests waited for a lane, and get none: the job needs no more signatures."""

    def slice_done(self, first: int, outcome: SliceOutcome) -> None:
        """The digests from ``first`` on have this outcome, which is no error of the whole slice."""

    def slice_refused(self, first: int, count: int, error: SigningError, by: int | None = None) -> None:
        """A lane refused the envelope with this error, and signed none of these digests."""

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None:
        """The digests from ``first`` on crashed several lanes, with these exit reasons; they are not tried again."""

    def slice_faulted(self, first: int, count: int) -> None:
        """The HSM failed twice while it had these digests; they may have been signed."""

    def slice_unavailable(self, first: int, count: int) -> None:
        """The token became unavailable before these digests were signed."""

    def slice_in_doubt(self, count: int) -> None:
        """A lane exited while it had ``count`` digests: they may have been signed."""


@dataclass(frozen=True, slots=True)
class Group:
    """Key version and algorithm; slices of one group may share a chunk."""

    key: str
    version: int
    algorithm: str


@dataclass(slots=True, eq=False)
class Slice:
    """Digests ``first`` to ``first + count`` of a job.

    ``alone``: a suspect, signed in a chunk of its own, so that no other job is blamed. ``crashes``: exit reasons of
    the lanes that crashed while they had it; ``faults``: how often the HSM failed while it had it. ``begun``: a lane
    has, or had, another slice of the job.
    """

    job: SigningJob
    group: Group
    first: int
    count: int
    alone: bool = False
    crashes: tuple[str, ...] = ()
    faults: int = 0
    begun: bool = False


@dataclass(slots=True)
class Batcher:
    """Slices that wait for a lane: FIFO within a group, groups in turn, suspects apart."""

    digests: int = 0
    suspects: list[Slice] = field(default_factory=list)
    _groups: dict[Group, deque[Slice]] = field(default_factory=dict)

    def add(self, slice_: Slice, *, front: bool = False) -> None:
        """Add a slice; a suspect waits apart, to be tried alone."""
        self.digests += slice_.count
        if slice_.alone:
            self.suspects.append(slice_)
            return
        waiting = self._groups.setdefault(slice_.group, deque())
        if front:
            waiting.appendleft(slice_)
        else:
            waiting.append(slice_)

    def next_group(self) -> Group | None:
        """Group whose turn it is; None when nothing waits but suspects."""
        return next(iter(self._groups), None)

    def take(self, group: Group, most_digests: int) -> list[Slice]:
        """Up to ``most_digests`` of the group; a slice that is too long is cut. The next group is next.

        Slices of jobs that need no more signatures are skipped: nothing is left where no other job waits.
        """
        waiting = self._groups.pop(group)
        taken: list[Slice] = []
        left = most_digests
        while waiting and left > 0:
            slice_ = waiting.popleft()
            if not slice_.job.needs_signatures:
                self._skip(slice_)
                continue
            if slice_.count > left:
                rest = Slice(slice_.job, group, slice_.first + left, slice_.count - left, begun=True)
                waiting.appendleft(rest)
                slice_ = Slice(slice_.job, group, slice_.first, left, begun=True)
            taken.append(slice_)
            left -= slice_.count
            self.digests -= slice_.count
        if waiting:
            self._groups[group] = waiting
        return taken

    def _skip(self, slice_: Slice) -> None:
        self.digests -= slice_.count
        slice_.job.slice_skipped(slice_.count)

    def take_suspect(self) -> list[Slice]:
        """One suspect: the first of those that crashed the fewest lanes, so that an innocent one does not wait behind a
        bad one. Faults of the HSM do not change the order. None where no suspect's job needs signatures.
        """
        while self.suspects:
            slice_ = min(self.suspects, key=lambda each: len(each.crashes))
            self.suspects.remove(slice_)
            if slice_.job.needs_signatures:
                self.digests -= slice_.count
                return [slice_]
            self._skip(slice_)
        return []

    def clear(self, *, keep_begun: bool = False) -> list[Slice]:
        """Remove and return everything that waits, in order; with ``keep_begun`` except the rest of jobs that are begun."""
        everything = [slice_ for waiting in self._groups.values() for slice_ in waiting] + list(self.suspects)
        self._groups.clear()
        self.suspects.clear()
        self.digests = 0
        for slice_ in everything:
            if keep_begun and slice_.begun:
                self.add(slice_)
        return [slice_ for slice_ in everything if not (keep_begun and slice_.begun)]


class ChunkSize:
    """Number of digests that fill a chunk of ``target_s``, from the measured speed of the token's lanes."""

    def __init__(self, *, target_s: float, most: int) -> None:
        self._target_s = target_s
        self._most = most
        self._seconds: dict[Group, float] = {}

    def measured(self, group: Group, digests: int, seconds: float) -> None:
        """Record that a lane signed so many digests in this time; a moving average over about four chunks."""
        each = seconds / digests
        before = self._seconds.pop(group, each)
        if len(self._seconds) >= GROUPS_MEASURED:
            del self._seconds[next(iter(self._seconds))]
        self._seconds[group] = before + 0.25 * (each - before)

    def of(self, group: Group, sessions: int) -> int:
        """Digests in a chunk of the group: at least one per session; two while nothing was measured."""
        each = self._seconds.get(group)
        if each is None:
            return 2 * sessions
        return max(sessions, min(self._most, int(self._target_s / max(each, 1e-7))))

    def least(self, group: Group, sessions: int) -> int:
        """Digests that are too few to be divided: each slice costs a frame, and a verification of its envelope."""
        each = self._seconds.get(group)
        return 2 * sessions if each is None else max(sessions, int(WORTH_DIVIDING_S / max(each, 1e-7)))

    def largest(self, sessions: int) -> int:
        """Size of the largest chunk of any measured group; a claim should fill it."""
        return max((self.of(group, sessions) for group in self._seconds), default=2 * sessions)
