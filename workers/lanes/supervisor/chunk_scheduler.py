"""What waits for the lanes of a token, how they are fed with it, and what becomes of what a lost lane had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.lanes.supervisor.batching import Batcher, ChunkSize
from workers.lanes.supervisor.crash_blame import JobCrashHistory, TokenBlame
from workers.lanes.supervisor.exit_reason import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.lanes.protocol import Outcomes
    from workers.lanes.supervisor.batching import Group, Slice
    from workers.lanes.supervisor.connection import ChunkSent, LaneConnection
    from workers.lanes.supervisor.exit_reason import ExitReason
    from workers.lanes.supervisor.hsm_sharing import HsmShare, SharedHsm

CHUNKS_IN_LANE: Final = 2
"""One that is being signed, and the next."""

MOST_PER_CHUNK: Final = 1024

MOST_FAULTS: Final = 2
"""As often the HSM may fail over the same digests on this host; then their job goes back, for another one perhaps."""


def initial_capacity(sessions: int) -> int:
    """How many digests a token of which nothing is known yet could start: as ``TokenLanes.capacity`` begins."""
    return 4 * CHUNKS_IN_LANE * sessions


class ChunkScheduler:
    """Slices on their way to lanes and back. Knows links, not how they begin or end."""

    def __init__(self, *, chunk_target_s: float, poison_crashes: int) -> None:
        self._batcher = Batcher()
        self._chunk_size = ChunkSize(target_s=chunk_target_s, most=MOST_PER_CHUNK)
        self._poison_crashes = poison_crashes
        self._hsm: HsmShare | None = None
        self._suspicion = TokenBlame()
        self._records = JobCrashHistory()
        self._suspects_turn = True
        self._emptying: LaneConnection | None = None

    @property
    def token_in_doubt(self) -> bool:
        """Whether lane after lane ended, and none signed anything in between."""
        return self._suspicion.of_token

    @property
    def remembers(self) -> bool:
        """Whether something is held against the token, or a job."""
        return self._suspicion.in_mind or bool(self._records)

    def forget(self) -> None:
        """Begin anew: it is long ago."""
        self._suspicion, self._records = TokenBlame(), JobCrashHistory()

    @property
    def waiting(self) -> int:
        """Digests that no lane has."""
        return self._batcher.digests

    def full(self, lanes: int, sessions: int) -> int:
        """How many digests so many lanes of so many sessions have when each has its chunks."""
        return CHUNKS_IN_LANE * self._chunk_size.largest(sessions) * lanes

    def share_hsm(
        self,
        budget: SharedHsm | None,
        links: list[LaneConnection],
        *,
        sessions: int,
        weight: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """The token is on a device that others use too, or (None) on one of its own.

        What its lanes have counts before the old membership ends, which wakes the others: else they took it for free.
        """
        before, self._hsm = self._hsm, None
        if budget is not None:
            self._hsm = budget.join(operations=sessions, weight=weight, wake=wake)
            for link in links:
                if link.outstanding:
                    self._hsm.began(link)
        if before is not None:
            before.leave()

    def add(self, piece: Slice) -> None:
        """This is to be signed."""
        self._records.recall(piece)
        self._batcher.add(piece)

    def feed_all(self, links: Sequence[LaneConnection]) -> None:
        """Give the lanes what is next: first those that have nothing, which divide it where it is little."""
        idle = [link for link in links if _takes_work(link) and not link.outstanding]
        for taken, link in enumerate(idle):
            self.feed(link, chunks=1, among=len(idle) - taken)
        for link in links:
            self.feed(link)

    def feed(self, link: LaneConnection, *, chunks: int = CHUNKS_IN_LANE, among: int = 1) -> None:
        """Give the lane its next chunks, as far as it is free; of what waits as much as ``among`` lanes leave it."""
        while _takes_work(link) and len(link.outstanding) < chunks:
            if not self._may_send(link):
                return
            if self._is_suspects_turn(link):
                if not link.outstanding:
                    self._send_suspect(link)
                return
            if any(piece.alone for chunk in link.outstanding.values() for piece in chunk.slices):
                return  # a suspect runs alone, so that nobody else is blamed
            group = self._batcher.next_group()
            if group is None:
                return
            size = self._chunk_size.of(group, link.sessions)
            if among > 1:
                share = -(-self._batcher.digests // among)
                size = min(size, max(share, self._chunk_size.least(group, link.sessions)))
            self._send(link, group, self._batcher.take(group, size))

    def _is_suspects_turn(self, link: LaneConnection) -> bool:
        """Whether this lane is to sign a suspect, as soon as it is empty; one lane at a time.

        After a suspect, others first: a job that breaks one lane after the other must not keep them waiting.
        """
        if not self._batcher.suspects or not (self._suspects_turn or self._batcher.next_group() is None):
            return False
        if self._emptying not in {None, link}:
            return False
        self._emptying = link
        return True

    def _send_suspect(self, link: LaneConnection) -> None:
        self._emptying, self._suspects_turn = None, False
        slices = self._batcher.take_suspect()
        self._send(link, slices[0].group, slices)

    def _may_send(self, link: LaneConnection) -> bool:
        """Whether a shared device has room for what waits."""
        if self._hsm is None:
            return True
        if not self._batcher.digests:
            self._hsm.content()
            return True
        return self._hsm.may_send(link)

    def _send(self, link: LaneConnection, group: Group, slices: list[Slice]) -> None:
        if self._hsm is not None:
            self._hsm.began(link)
        link.send_chunk(group, slices)

    def answered(self, link: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """A chunk is done: feed the lane, then hand out the outcomes."""
        signed = sum(len(item.signatures) - len(item.errors) for item in answer.items)
        if signed:
            self.signed()
        if 2 * signed > chunk.digests:  # refusals cost no time, and say nothing about the token
            self._chunk_size.measured(chunk.group, signed, busy_s)
        self.feed(link)
        if self._hsm is not None:
            self._hsm.did(busy_s)
            if not link.outstanding:
                self._hsm.ended(link)
        for piece, outcome in zip(chunk.slices, answer.items, strict=True):
            if piece.alone:
                self._records.forget(piece.job.job_id)
            piece.job.slice_done(piece.first, outcome)

    def signed(self) -> None:
        """The token signs."""
        self._suspicion.signed()
        self._suspects_turn = True

    def take_back(self, link: LaneConnection, end: ExitReason) -> None:
        """What a lane that ended had is signed elsewhere, or again. Only the chunk that was being signed is suspect."""
        if self._hsm is not None:
            self._hsm.ended(link)
        if self._emptying is link:
            self._emptying = None
        over_its_work = end.cause in {Cause.FAULT, Cause.CRASH}
        if over_its_work:
            self._suspicion.lane_ended()
        for position, chunk in enumerate(link.abandon()):
            for piece in chunk.slices:
                piece.job.slice_in_doubt()
                if over_its_work and position == 0:
                    self._again_or_never(piece, end)
                else:
                    self._batcher.add(piece, front=True)

    def _again_or_never(self, piece: Slice, end: ExitReason) -> None:
        """Once more and alone, unless it did this too often."""
        piece.alone = True
        if end.cause is Cause.CRASH:
            piece.crashes += (end.reason,)
            if len(piece.crashes) >= self._poison_crashes and self._suspicion.may_blame():
                self._records.forget(piece.job.job_id)
                piece.job.slice_poisoned(piece.first, piece.count, piece.crashes)
                return
            self._records.note(piece)
        else:
            piece.faults += 1
            self._records.note(piece)
            if piece.faults >= MOST_FAULTS:
                piece.job.slice_faulted(piece.first, piece.count)
                return
        self._batcher.add(piece, front=True)

    def left_alone(self) -> None:
        """The token's circuit was opened: everything goes back to the queue, where another worker may have better luck."""
        self._suspicion.left_alone()
        self._suspects_turn = True
        self.return_all()

    def return_all(self, *, keep_begun: bool = False) -> None:
        """Jobs that no lane has go back to the queue.

        ``keep_begun``: not those of which a part is in a lane or signed; it would be signed again.
        """
        returned = self._batcher.clear(keep_begun=keep_begun)
        if self._hsm is not None and not self._batcher.digests:
            self._hsm.content()
        for piece in returned:
            piece.job.slice_unavailable(piece.first, piece.count)


def _takes_work(link: LaneConnection) -> bool:
    return link.ready is not None and not link.stopping
