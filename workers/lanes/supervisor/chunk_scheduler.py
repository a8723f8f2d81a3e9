"""Chunk scheduler of one token: feeds its lanes with waiting slices. What follows for those of a lost lane: ``lost_lane``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workers.lanes.supervisor.batching import Batcher, ChunkSize
from workers.lanes.supervisor.lost_lane import LostChunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.lanes.protocol import Outcomes
    from workers.lanes.supervisor.batching import Group, Slice
    from workers.lanes.supervisor.connection import ChunkSent, LaneConnection
    from workers.lanes.supervisor.hsm_sharing import HsmShare
    from workers.lanes.supervisor.lost_lane import ExitReason, TokenAfter

CHUNKS_IN_LANE: Final = 2
"""One that is being signed, and the next."""

MOST_PER_CHUNK: Final = 1024


def initial_capacity(sessions: int) -> int:
    """Digests that a token of unknown speed could start: as ``TokenPool.capacity`` begins."""
    return 4 * CHUNKS_IN_LANE * sessions


class ChunkScheduler:
    """Waiting slices of one token on their way to its lanes, and back from a lost lane."""

    def __init__(self, *, chunk_target_s: float, poison_crashes: int) -> None:
        self._batcher = Batcher()
        self._chunk_size = ChunkSize(target_s=chunk_target_s, most=MOST_PER_CHUNK)
        self._hsm: HsmShare | None = None
        self._lost = LostChunks(poison_crashes=poison_crashes)
        self._suspects_turn = True
        self._emptying: LaneConnection | None = None

    @property
    def has_crash_history(self) -> bool:
        """Whether a crash is on record against the token, or a job."""
        return self._lost.has_history

    def forget_crashes(self) -> None:
        """Forget the crashes of token and jobs: they were long ago."""
        self._lost.forget_crashes()

    @property
    def waiting_digests(self) -> int:
        """Digests that were not sent to a lane."""
        return self._batcher.digests

    def digests_for(self, lanes: int, sessions: int) -> int:
        """Digests that so many lanes of so many sessions have when each has all its chunks."""
        return CHUNKS_IN_LANE * self._chunk_size.largest(sessions) * lanes

    def use_share(self, share: HsmShare | None, busy: Sequence[LaneConnection]) -> None:
        """Send from now on within this share of an HSM, or without limit (None); ``busy`` lanes count in it already.

        They are counted before the old share is given up, which wakes the other tokens: else those took the operations.
        """
        before, self._hsm = self._hsm, share
        if share is not None:
            for lane in busy:
                share.acquire(lane)
        if before is not None:
            before.leave()

    def add(self, slice_: Slice) -> None:
        """Add a slice to be signed."""
        self._lost.jobs.apply_to(slice_)
        self._batcher.add(slice_)

    def feed_all(self, lanes: Sequence[LaneConnection]) -> None:
        """Feed the lanes, in this order: first the idle ones, which divide what is little."""
        idle = [lane for lane in lanes if lane.takes_work and not lane.outstanding]
        for taken, lane in enumerate(idle):
            self._feed(lane, chunks=1, among=len(idle) - taken)
        for lane in lanes:
            self._feed(lane)

    def _feed(self, lane: LaneConnection, *, chunks: int = CHUNKS_IN_LANE, among: int = 1) -> None:
        """Send the lane its next chunks, up to ``chunks``; each at most the part of one of ``among`` lanes."""
        while lane.takes_work and len(lane.outstanding) < chunks:
            if not self._hsm_has_room(lane):
                return
            if self._reserve_for_suspect(lane):
                if lane.outstanding or self._send_suspect(lane):
                    return
                continue
            if any(slice_.alone for chunk in lane.outstanding.values() for slice_ in chunk.slices):
                return  # a suspect runs alone, so that no other job is blamed
            group = self._batcher.next_group()
            if group is None:
                return
            size = self._chunk_size.of(group, lane.sessions)
            if among > 1:
                part = -(-self._batcher.digests // among)
                size = min(size, max(part, self._chunk_size.least(group, lane.sessions)))
            slices = self._batcher.take(group, size)
            if slices:
                self._send(lane, group, slices)

    def _reserve_for_suspect(self, lane: LaneConnection) -> bool:
        """Reserve the lane for a suspect, to be sent as soon as the lane is empty; returns whether it is reserved.

        One lane at a time. After a suspect other jobs are next: a job that crashes one lane after the other must not
        keep them waiting.
        """
        if not self._batcher.suspects or not (self._suspects_turn or self._batcher.next_group() is None):
            return False
        if self._emptying not in {None, lane}:
            return False
        self._emptying = lane
        return True

    def _send_suspect(self, lane: LaneConnection) -> bool:
        """Send the lane a suspect, and nothing else; False where no suspect is left."""
        self._emptying = None
        slices = self._batcher.take_suspect()
        if slices:
            self._suspects_turn = False
            self._send(lane, slices[0].group, slices)
        return bool(slices)

    def _hsm_has_room(self, lane: LaneConnection) -> bool:
        """Request the operations of a shared HSM for what waits; returns whether they are granted."""
        if self._hsm is None:
            return True
        if not self._batcher.digests:
            self._hsm.idle()
            return True
        return self._hsm.request(lane)

    def _send(self, lane: LaneConnection, group: Group, slices: list[Slice]) -> None:
        if self._hsm is not None:
            self._hsm.acquire(lane)
        for slice_ in slices:
            slice_.job.slice_sent(slice_.count)
        lane.send_chunk(group, slices)

    def chunk_answered(self, lane: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """Hand out the refusals, feed the lane again, then hand out the other outcomes of the chunk.

        A refusal ends its job, of which the lane gets nothing more.
        """
        signed = sum(len(item.signatures) - len(item.errors) for item in answer.items)
        if signed:
            self.record_signature()
        if 2 * signed > chunk.digests:  # refusals take no time, and prove nothing about the token
            self._chunk_size.measured(chunk.group, signed, busy_s)
        outcomes = list(zip(chunk.slices, answer.items, strict=True))
        for slice_, outcome in outcomes:
            if outcome.error is not None:
                error = outcome.error.error()
                slice_.job.slice_refused(slice_.first, slice_.count, error, by=lane.tenant_epoch)
        self._feed(lane)
        if self._hsm is not None:
            self._hsm.record_usage(busy_s)
            if not lane.outstanding:
                self._hsm.release(lane)
        for slice_, outcome in outcomes:
            if slice_.alone:
                self._lost.jobs.forget(slice_.job.job_id)
            if outcome.error is None:
                slice_.job.slice_done(slice_.first, outcome)

    def record_signature(self) -> None:
        """The token has signed: nothing counts against it."""
        self._lost.token.record_signature()
        self._suspects_turn = True

    def lane_ended(self, lane: LaneConnection, end: ExitReason) -> TokenAfter:
        """Take back what a lane had, to be signed elsewhere as far as ``LostChunks`` decides so; the use of the token after it."""
        if self._hsm is not None:
            self._hsm.release(lane)
        if self._emptying is lane:
            self._emptying = None
        for slice_ in self._lost.take_back(lane.take_outstanding(), end):
            self._batcher.add(slice_, front=True)
        return self._lost.token_after(end, was_ready=lane.ready is not None)

    def circuit_opened(self) -> None:
        """Requeue everything, perhaps for another worker: the token's circuit breaker has opened."""
        self._lost.token.circuit_opened()
        self._suspects_turn = True
        self.return_waiting()

    def return_waiting(self, *, keep_begun: bool = False) -> None:
        """Requeue the jobs of which no lane has anything.

        ``keep_begun``: keep those of which a slice is in a lane or signed; it would be signed again.
        """
        returned = self._batcher.clear(keep_begun=keep_begun)
        if self._hsm is not None and not self._batcher.digests:
            self._hsm.idle()
        for slice_ in returned:
            slice_.job.slice_unavailable(slice_.first, slice_.count)
