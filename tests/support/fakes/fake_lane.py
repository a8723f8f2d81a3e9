"""A lane that is played by the test: it stands behind ``spawn_or_connect``, and no process, socket or clock is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from queueing.errors import SigningError
from queueing.protocol.jobs import WireError
from workers.journal.event_records import KeyOperations
from workers.lanes.protocol import (
    Chunk,
    FromLane,
    LaneFailure,
    Outcomes,
    Ready,
    SignCanary,
    SignDirectory,
    SliceOutcome,
    Stop,
    ToLane,
    encode_frame,
    frame_length,
    to_lane_decoder,
)
from workers.state.token_claims import TokenProperties


@dataclass(slots=True)
class FakeClock:
    """Stands in for the module ``time``."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


class FakeLane:
    """Both ends of a lane's connection: what was sent to it is in ``sent``; it ends when told to."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.sent: list[ToLane] = []
        self.killed = False
        self._answered: set[int] = set()
        self._code: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    # what the worker's side calls: LaneConnection, and its writer

    @property
    def writer(self) -> FakeLane:
        return self

    def write(self, data: bytes) -> None:
        while data:
            length = frame_length(data[:4])
            self.take(to_lane_decoder.decode(data[4 : 4 + length]))
            data = data[4 + length :]

    def kill(self) -> None:
        self.killed = True
        self.end(-9)

    async def ended(self) -> int | None:
        return await self._code

    # what the test does

    def take(self, message: ToLane) -> None:
        self.sent.append(message)
        if isinstance(message, Stop):
            self.end(0)

    def say(self, message: FromLane) -> None:
        self.reader.feed_data(encode_frame(message))

    def ready(
        self, sessions: int = 2, *, canaries: bool = True, token: TokenProperties | None = None
    ) -> None:
        self.say(Ready(1, sessions, sessions, "fake", canaries, token))

    def fail(self, code_name: str, exit_code: int, *, action: str = "") -> None:
        """Its last word, and its end."""
        self.say(LaneFailure(code_name, action, False))
        self.end(exit_code)

    def end(self, code: int | None) -> None:
        if not self._code.done():
            self._code.set_result(code)
            self.reader.feed_eof()

    @property
    def chunks(self) -> list[Chunk]:
        return [message for message in self.sent if isinstance(message, Chunk)]

    @property
    def alive(self) -> bool:
        return not self._code.done()

    @property
    def unanswered(self) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.id not in self._answered]

    @property
    def directories(self) -> list[SignDirectory]:
        return [message for message in self.sent if isinstance(message, SignDirectory)]

    @property
    def canaries(self) -> list[SignCanary]:
        return [message for message in self.sent if isinstance(message, SignCanary)]

    def answer(self, chunk: Chunk, operations: tuple[KeyOperations, ...] | None = None) -> None:
        """Every digest of it is signed."""
        self._answered.add(chunk.id)
        items = tuple(SliceOutcome(None, 1, b"f" * 32, (b"signature",) * item.count) for item in chunk.items)
        self.say(Outcomes(chunk.id, items, 0.001, operations=operations))

    def refuse(self, chunk: Chunk, error: SigningError) -> None:
        """No digest of it is signed."""
        note = WireError.of(error)
        items = tuple(
            SliceOutcome(None, 1, b"f" * 32, (None,) * item.count, dict.fromkeys(range(item.count), note))
            for item in chunk.items
        )
        self.say(Outcomes(chunk.id, items, 0.001))


@dataclass
class FakeHost:
    """Hands out lanes, in order, where ``spawn_or_connect`` is called; ``refuse`` makes it fail."""

    lanes: list[FakeLane] = field(default_factory=list)
    refuse: bool = False

    async def spawn_or_connect(self, _: Any) -> FakeLane:
        if self.refuse:
            raise ConnectionRefusedError("nobody listens")
        lane = FakeLane()
        self.lanes.append(lane)
        return lane

    def __iter__(self) -> Iterator[FakeLane]:
        return iter(self.lanes)


@dataclass(eq=False)
class FakeJob:
    """Outcomes of the slices of a job."""

    name: str
    done: list[tuple[int, int]] = field(default_factory=list)
    poisoned: list[tuple[int, int]] = field(default_factory=list)
    unavailable: list[tuple[int, int]] = field(default_factory=list)
    refused: list[tuple[int, int]] = field(default_factory=list)
    faulted: list[tuple[int, int]] = field(default_factory=list)
    lane_ends: Sequence[str] = ()
    in_doubt: bool = False
    needs_signatures: bool = True
    skipped: int = 0

    @property
    def job_id(self) -> bytes:
        return self.name.encode()

    @property
    def sealed(self) -> bytes:
        return self.name.encode()

    def slice_sent(self, count: int) -> None: ...

    def slice_skipped(self, count: int) -> None:
        self.skipped += count

    def slice_done(self, first: int, outcome: SliceOutcome) -> None:
        self.done.append((first, len(outcome.signatures)))

    def slice_refused(self, first: int, count: int, error: SigningError, by: int | None = None) -> None:
        self.refused.append((first, count))

    def slice_poisoned(self, first: int, count: int, lane_ends: Sequence[str]) -> None:
        self.poisoned.append((first, count))
        self.lane_ends = lane_ends

    def slice_faulted(self, first: int, count: int) -> None:
        self.faulted.append((first, count))

    def slice_unavailable(self, first: int, count: int) -> None:
        self.unavailable.append((first, count))

    def slice_in_doubt(self, count: int) -> None:
        self.in_doubt = True
