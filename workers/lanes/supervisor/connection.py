"""The worker's end of one lane: what it was given and has not answered, and when it was last heard."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

import msgspec

from workers.lanes.protocol import (
    Chunk,
    EnvelopeSlice,
    FromLane,
    LaneFailure,
    Outcomes,
    Ready,
    Reload,
    Reloaded,
    SignCanary,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    Stop,
    encode_frame,
    frame_length,
    from_lane_decoder,
)

if TYPE_CHECKING:
    from workers.lanes.protocol import SliceOutcome
    from workers.lanes.supervisor.batching import Group, Slice
    from workers.lanes.supervisor.spawn import LaneStream


class ChunkSent:
    """A chunk that a lane has and has not answered."""

    __slots__ = ("digests", "group", "sent_at", "slices")

    def __init__(self, group: Group, slices: list[Slice], sent_at: float) -> None:
        self.group = group
        self.slices = slices
        self.digests = sum(piece.count for piece in slices)
        self.sent_at = sent_at


class LaneOwner(Protocol):
    """Who is told what a lane says."""

    def lane_answered(self, link: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """A chunk has its outcomes; the lane was busy with it for ``busy_s``."""

    def directory_signed(self, answer: SignedDirectory) -> None:
        """The service's lane answered."""

    def canary_signed(self, answer: SignedCanary) -> None:
        """The lane answered its canary."""


class LaneConnection:
    """One connected lane. ``outstanding`` is in the order of sending."""

    def __init__(self, connection: LaneStream, owner: LaneOwner) -> None:
        self.connection = connection
        self._owner = owner
        self._next_id = 0
        self._idle_since = time.monotonic()
        self._free_at = 0.0
        self._ready_at = 0.0
        self.outstanding: dict[int, ChunkSent] = {}
        self._asked = 0
        self._reloads: dict[int, tuple[float, float]] = {}
        self.reload_problem = ""
        self.last_heard = time.monotonic()
        self.last_word: LaneFailure | None = None
        self.ready: Ready | None = None
        self.became_ready = asyncio.Event()
        self.stopping = False
        self.silent = False
        self.cpu: int | None = None

    @property
    def sessions(self) -> int:
        """How many sessions the lane has; 0 before it is ready."""
        return self.ready.sessions if self.ready is not None else 0

    @property
    def digests_outstanding(self) -> int:
        """Digests that it has and has not answered."""
        return sum(chunk.digests for chunk in tuple(self.outstanding.values()))

    @property
    def busy(self) -> bool:
        """Whether it owes an answer."""
        return bool(self.outstanding or self._asked)

    def idle_s(self, now: float) -> float:
        """How long it has owed nothing; a canary in between is no use that is made of it."""
        return 0.0 if self.busy else now - self._idle_since

    def silent_s(self, now: float) -> float:
        """How long it has said nothing while it owes an answer."""
        return now - self.last_heard if self.busy else 0.0

    def send_chunk(self, group: Group, slices: list[Slice]) -> None:
        """Hand over one chunk; at most a few are outstanding, so nothing waits in the socket for long."""
        self._next_id += 1
        now = time.monotonic()
        if not self.busy:
            self.last_heard = now
        self.outstanding[self._next_id] = ChunkSent(group, slices, now)
        items = tuple(EnvelopeSlice(piece.job.sealed, piece.first, piece.count) for piece in slices)
        self.connection.writer.write(encode_frame(Chunk(self._next_id, items)))

    def ask(self, request: SignDirectory | SignCanary) -> None:
        """Ask for a signed directory (the service's lane only), or for a canary."""
        if not self.busy:
            self.last_heard = time.monotonic()
        self._asked += 1
        self.connection.writer.write(encode_frame(request))

    def ask_reload(self, orders: tuple[bytes, ...], within_s: float, *, files: bool) -> None:
        """Have it judge these orders and read its files again; one that is starting does so before any chunk."""
        self._next_id += 1
        self._reloads[self._next_id] = (time.monotonic(), within_s)
        self.connection.writer.write(encode_frame(Reload(self._next_id, files, orders)))

    @property
    def owes_reload(self) -> bool:
        """Whether it could have answered a reload, and has not."""
        return self.ready is not None and bool(self._reloads)

    def reload_overdue(self, now: float) -> bool:
        """Whether it should have answered a reload by now; counted from when it was ready to."""
        return self.ready is not None and any(
            now - max(asked_at, self._ready_at) > within_s for asked_at, within_s in self._reloads.values()
        )

    def stop(self) -> None:
        """Ask it to end when all is answered."""
        self.stopping = True
        self.connection.writer.write(encode_frame(Stop()))

    async def read_until_end(self) -> None:
        """Take what the lane says until it hangs up, for whatever reason."""
        read = self.connection.reader.readexactly
        try:
            while True:
                body = await read(frame_length(await read(4)))
                self.last_heard = time.monotonic()
                self._take(from_lane_decoder.decode(body))
        except (asyncio.IncompleteReadError, OSError):
            return  # it is gone, or going: its exit code says why
        except (ValueError, msgspec.MsgspecError):
            self.connection.kill()  # it talks nonsense, and is replaced

    def _take(self, message: FromLane) -> None:
        if isinstance(message, Outcomes):
            self._answered(message)
        elif isinstance(message, SignedDirectory):
            self._asked -= 1
            self._owner.directory_signed(message)
        elif isinstance(message, SignedCanary):
            self._asked -= 1
            self._owner.canary_signed(message)
        elif isinstance(message, Reloaded):
            self._reloads.pop(message.id, None)
            self.reload_problem = message.problem
        elif isinstance(message, Ready):
            self.ready = message
            self._ready_at = self.last_heard
            self.became_ready.set()
        elif isinstance(message, LaneFailure):
            self.last_word = message

    def _answered(self, answer: Outcomes) -> None:
        chunk = self.outstanding.get(answer.id)
        if chunk is None or not _fits(chunk, answer):
            raise ValueError("an answer to a chunk that was not asked")  # it is owed still: others sign it
        del self.outstanding[answer.id]
        busy_s = self.last_heard - max(chunk.sent_at, self._free_at)
        self._free_at = self._idle_since = self.last_heard
        self._owner.lane_answered(self, chunk, answer, busy_s)

    def abandon(self) -> deque[ChunkSent]:
        """What it had when it ended, in the order of sending; it has nothing any more."""
        left = deque(self.outstanding.values())
        self.outstanding.clear()
        return left


def _fits(chunk: ChunkSent, answer: Outcomes) -> bool:
    """Whether it says of each digest what became of it: a signature, or an error of its own or of its item."""
    return len(chunk.slices) == len(answer.items) and all(
        item.error is not None or (len(item.signatures) == piece.count and _each_has_one(item))
        for piece, item in zip(chunk.slices, answer.items, strict=True)
    )


def _each_has_one(item: SliceOutcome) -> bool:
    signatures, errors = item.signatures, item.errors
    return signatures.count(None) == len(errors) and all(
        0 <= i < len(signatures) and signatures[i] is None for i in errors
    )
