"""What waits for the lanes of a token, how they are fed with it, and what becomes of what a lost lane had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.lanes.batching import Batcher, ChunkSize

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.lanes.batching import Group, Slice
    from workers.lanes.frames import Outcomes
    from workers.lanes.hsm_shares import HsmBudget, HsmMember
    from workers.lanes.link import ChunkSent, LaneLink

CHUNKS_IN_LANE: Final = 2
"""One that is being signed, and the next."""

MOST_PER_CHUNK: Final = 1024


def initial_capacity(sessions: int) -> int:
    """How many digests a token of which nothing is known yet could start: as ``TokenLanes.capacity`` begins."""
    return 4 * CHUNKS_IN_LANE * sessions


class Dispatch:
    """Slices on their way to lanes and back. Knows links, not how they begin or end."""

    def __init__(self, *, chunk_target_s: float, poison_crashes: int) -> None:
        self._batcher = Batcher()
        self._chunk_size = ChunkSize(target_s=chunk_target_s, most=MOST_PER_CHUNK)
        self._poison_crashes = poison_crashes
        self._hsm: HsmMember | None = None

    @property
    def waiting(self) -> int:
        """Digests that no lane has."""
        return self._batcher.digests

    def full(self, lanes: int, sessions: int) -> int:
        """How many digests so many lanes of so many sessions have when each has its chunks."""
        return CHUNKS_IN_LANE * self._chunk_size.largest(sessions) * lanes

    def share_hsm(
        self,
        budget: HsmBudget | None,
        links: list[LaneLink],
        *,
        sessions: int,
        weight: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """The token is on a device that others use too, or (None) on one of its own."""
        if self._hsm is not None:
            self._hsm.leave()
            self._hsm = None
        if budget is not None:
            self._hsm = budget.join(operations=sessions, weight=weight, wake=wake)
            for link in links:
                if link.outstanding:
                    self._hsm.began(link)

    def add(self, piece: Slice) -> None:
        """This is to be signed."""
        self._batcher.add(piece)

    def feed(self, link: LaneLink) -> None:
        """Give the lane its next chunks, as far as it is free."""
        while link.ready is not None and not link.stopping and len(link.outstanding) < CHUNKS_IN_LANE:
            if not self._may_send(link):
                return
            if self._batcher.suspects and not link.outstanding:
                slices = self._batcher.take_suspect()
                self._send(link, slices[0].group, slices)
                return
            if any(piece.crashes for chunk in link.outstanding.values() for piece in chunk.slices):
                return  # a suspect runs alone, so that nobody else is blamed
            group = self._batcher.next_group()
            if group is None:
                return
            self._send(link, group, self._batcher.take(group, self._chunk_size.of(group, link.sessions)))

    def _may_send(self, link: LaneLink) -> bool:
        """Whether a shared device has room for what waits."""
        if self._hsm is None:
            return True
        if not self._batcher.digests:
            self._hsm.content()
            return True
        return self._hsm.may_send(link)

    def _send(self, link: LaneLink, group: Group, slices: list[Slice]) -> None:
        if self._hsm is not None:
            self._hsm.began(link)
        link.send_chunk(group, slices)

    def answered(self, link: LaneLink, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """A chunk is done: feed the lane, then hand out the outcomes."""
        signed = sum(len(item.signatures) - len(item.errors) for item in answer.items)
        if 2 * signed > chunk.digests:  # refusals cost no time, and say nothing about the token
            self._chunk_size.measured(chunk.group, signed, busy_s)
        self.feed(link)
        if self._hsm is not None:
            self._hsm.did(busy_s)
            if not link.outstanding:
                self._hsm.ended(link)
        for piece, outcome in zip(chunk.slices, answer.items, strict=True):
            piece.job.slice_done(piece.first, outcome)

    def take_back(self, link: LaneLink, *, blame: bool) -> None:
        """What a lane that ended had is signed elsewhere, or again. Only the chunk that was being signed is suspect."""
        if self._hsm is not None:
            self._hsm.ended(link)
        for position, chunk in enumerate(link.abandon()):
            for piece in chunk.slices:
                if blame and position == 0:
                    piece.crashes += 1
                if piece.crashes >= self._poison_crashes:
                    piece.job.slice_poisoned(piece.first, piece.count)
                else:
                    self._batcher.add(piece, front=True)

    def return_all(self) -> None:
        """Jobs go back to the queue, where another worker may have better luck."""
        if self._hsm is not None:
            self._hsm.content()
        for piece in self._batcher.clear():
            piece.job.slice_unavailable(piece.first, piece.count)
