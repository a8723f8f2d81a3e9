"""Jobs of one key coalesce into chunks. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.lanes.protocol import SliceOutcome

GROUPS_MEASURED: Final = 64
"""A tenant's key versions with their algorithms, and then some; the group that was signed with longest ago goes first."""


WORTH_DIVIDING_S: Final = 0.005
"""Of a lane's time: a hundred times what another part of an envelope costs (a verification, 60 us)."""


class SigningJob(Protocol):
    """What the lanes need of a job in work."""

    @property
    def job_id(self) -> bytes:
        """The same at each claim of the job."""

    @property
    def sealed(self) -> bytes:
        """The sealed envelope."""

    def slice_done(self, first: int, outcome: SliceOutcome) -> None:
        """The outcome of the digests from ``first`` on."""

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None:
        """These digests broke lane after lane, which ended so; they will not be tried any more."""

    def slice_faulted(self, first: int, count: int) -> None:
        """The HSM failed over these digests, twice; they may have been signed."""

    def slice_unavailable(self, first: int, count: int) -> None:
        """The token went away before these were signed."""

    def slice_in_doubt(self) -> None:
        """A lane ended over some of its digests: they may have been signed."""


@dataclass(frozen=True, slots=True)
class Group:
    """What may share a chunk: one key version with one algorithm."""

    key: str
    version: int
    algorithm: str


@dataclass(slots=True, eq=False)
class Slice:
    """Digests ``first`` to ``first + count`` of a job.

    ``alone``: signed with nothing beside it, so that nobody else is blamed. ``crashes``: how the lanes ended that broke
    over it; ``faults``: how often the HSM failed while it had it. ``begun``: it is a part of a job of which a lane
    has, or had, another part.
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

    def add(self, piece: Slice, *, front: bool = False) -> None:
        """One more slice; one over which a lane ended waits apart, to be tried alone."""
        self.digests += piece.count
        if piece.alone:
            self.suspects.append(piece)
            return
        waiting = self._groups.setdefault(piece.group, deque())
        if front:
            waiting.appendleft(piece)
        else:
            waiting.append(piece)

    def next_group(self) -> Group | None:
        """Whose turn it is; None when nothing waits (suspects aside)."""
        return next(iter(self._groups), None)

    def take(self, group: Group, most_digests: int) -> list[Slice]:
        """Up to ``most_digests`` of the group, at least one; a slice that is too long is cut. Then the next group's turn."""
        waiting = self._groups.pop(group)
        taken: list[Slice] = []
        room = most_digests
        while waiting and room > 0:
            piece = waiting.popleft()
            if piece.count > room:
                rest = Slice(piece.job, group, piece.first + room, piece.count - room, begun=True)
                waiting.appendleft(rest)
                piece = Slice(piece.job, group, piece.first, room, begun=True)
            taken.append(piece)
            room -= piece.count
        if waiting:
            self._groups[group] = waiting
        self.digests -= most_digests - room
        return taken

    def take_suspect(self) -> list[Slice]:
        """One suspect, alone: the first of those that broke the fewest lanes, so that an innocent one does not wait
        behind a bad one. Faults of the HSM change no order.
        """
        piece = min(self.suspects, key=lambda each: len(each.crashes))
        self.suspects.remove(piece)
        self.digests -= piece.count
        return [piece]

    def clear(self, *, keep_begun: bool = False) -> list[Slice]:
        """Everything that waits, in order, waits no more; but for the rest of jobs that are begun, if that is kept."""
        everything = [piece for waiting in self._groups.values() for piece in waiting] + list(self.suspects)
        self._groups.clear()
        self.suspects.clear()
        self.digests = 0
        for piece in everything:
            if keep_begun and piece.begun:
                self.add(piece)
        return [piece for piece in everything if not (keep_begun and piece.begun)]


class ChunkSize:
    """How many digests fill a chunk of ``target_s``, from what a lane of this token managed before."""

    def __init__(self, *, target_s: float, most: int) -> None:
        self._target_s = target_s
        self._most = most
        self._seconds: dict[Group, float] = {}

    def measured(self, group: Group, digests: int, seconds: float) -> None:
        """Note how long a lane was busy with a chunk of which it signed so many; a moving average over about four."""
        each = seconds / digests
        before = self._seconds.pop(group, each)
        if len(self._seconds) >= GROUPS_MEASURED:
            del self._seconds[next(iter(self._seconds))]
        self._seconds[group] = before + 0.25 * (each - before)

    def of(self, group: Group, sessions: int) -> int:
        """At least one digest per session; two where nothing is known yet."""
        each = self._seconds.get(group)
        if each is None:
            return 2 * sessions
        return max(sessions, min(self._most, int(self._target_s / max(each, 1e-7))))

    def least(self, group: Group, sessions: int) -> int:
        """What is too little to be divided: each part costs a frame, and a verification of its envelope."""
        each = self._seconds.get(group)
        return 2 * sessions if each is None else max(sessions, int(WORTH_DIVIDING_S / max(each, 1e-7)))

    def largest(self, sessions: int) -> int:
        """The largest chunk of any group seen; what a claim should fill."""
        return max((self.of(group, sessions) for group in self._seconds), default=2 * sessions)
