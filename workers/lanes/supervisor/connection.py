"""Worker's end of the connection to one lane: outstanding chunks and requests, and the time of the last message."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from workers.journal.event_records import LANE_ID_BYTES, KeyOperations
from workers.lanes.operations import OperationCounts
from workers.lanes.protocol import (
    MAX_ANSWER_BYTES,
    OPEN_CIRCUIT,
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
    SignedStatement,
    SignStatement,
    Stop,
    encode_frame,
    frame_length,
)
from workers.lanes.supervisor.answer_reader import AnswerInvalid, read_answer

if TYPE_CHECKING:
    from workers.lanes.protocol import SliceOutcome
    from workers.lanes.supervisor.batching import Group, Slice
    from workers.lanes.supervisor.spawn import LaneStream


RequestAnswer = SignedDirectory | SignedStatement | SignedCanary
"""Answers to requests other than chunks."""

_ANSWERED_BY: Final[dict[type, type]] = {
    SignDirectory: SignedDirectory,
    SignStatement: SignedStatement,
    SignCanary: SignedCanary,
}


class ChunkSent:
    """A chunk that a lane has and has not answered."""

    __slots__ = ("digests", "group", "sent_at", "slices")

    def __init__(self, group: Group, slices: list[Slice], sent_at: float) -> None:
        self.group = group
        self.slices = slices
        self.digests = sum(slice_.count for slice_ in slices)
        self.sent_at = sent_at


class TokenCheck(Protocol):
    """Check of the token that a lane has logged in to."""

    def objection_to(self, ready: Ready) -> str:
        """Reason for which the token may not be used: the lane is killed; empty where it may."""


class AnswerListener(Protocol):
    """Receiver of the answers of a lane."""

    def chunk_answered(self, lane: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float) -> None:
        """A chunk has its outcomes; the lane was busy with it for ``busy_s``."""

    def request_answered(self, answer: RequestAnswer) -> None:
        """The lane answered a request for a directory, a statement or a canary."""


class LaneConnection:
    """Worker's end of the connection to one lane. ``outstanding`` is in the order of sending.

    ``id``: 16 random bytes, by which the log names the lane; ``operations``: calls of C_Sign that it has reported.
    ``invalid``: the reason for which the lane was killed over one of its messages, else empty. ``tenant_epoch``: of the tenant's file that
    it last reported; -1: it has none; None: an older lane, which has not been reloaded.
    """

    def __init__(self, stream: LaneStream, listener: AnswerListener, token_check: TokenCheck) -> None:
        self.stream = stream
        self.id = os.urandom(LANE_ID_BYTES)
        self.operations = OperationCounts()
        self._token_check = token_check
        self._listener = listener
        self._next_id = 0
        self._idle_since = time.monotonic()
        self._free_at = 0.0
        self._ready_at = 0.0
        self._open_requests: set[tuple[type, int]] = set()  # type of the answer, id
        self._reloads: dict[int, tuple[float, float]] = {}
        self._last_received = time.monotonic()
        self.outstanding: dict[int, ChunkSent] = {}
        self.reload_problem = ""
        self.tenant_epoch: int | None = None
        self.failure: LaneFailure | None = None
        self.ready: Ready | None = None
        self.became_ready = asyncio.Event()
        self.stopping = False
        self.silent = False
        self.invalid = ""
        self.cpu: int | None = None

    @property
    def takes_work(self) -> bool:
        """Whether the lane is logged in and was not told to stop."""
        return self.ready is not None and not self.stopping

    @property
    def sessions(self) -> int:
        """Number of sessions of the lane; 0 before it is ready."""
        return self.ready.sessions if self.ready is not None else 0

    @property
    def digests_outstanding(self) -> int:
        """Digests that were sent to the lane and are not answered."""
        return sum(chunk.digests for chunk in tuple(self.outstanding.values()))

    @property
    def busy(self) -> bool:
        """Whether the lane owes an answer."""
        return bool(self.outstanding or self._open_requests)

    def idle_s(self, now: float) -> float:
        """Seconds since the last chunk was answered, 0 while an answer is owed. A canary does not count as use."""
        return 0.0 if self.busy else now - self._idle_since

    def silent_s(self, now: float) -> float:
        """Seconds since the lane last sent anything, 0 while it owes no answer."""
        return now - self._last_received if self.busy else 0.0

    def send_chunk(self, group: Group, slices: list[Slice]) -> None:
        """Send one chunk; at most a few are outstanding, so nothing waits in the socket for long."""
        self._next_id += 1
        now = time.monotonic()
        if not self.busy:
            self._last_received = now
        self.outstanding[self._next_id] = ChunkSent(group, slices, now)
        items = tuple(EnvelopeSlice(slice_.job.sealed, slice_.first, slice_.count) for slice_ in slices)
        self.stream.writer.write(encode_frame(Chunk(self._next_id, items)))

    def send_request(self, request: SignDirectory | SignStatement | SignCanary) -> None:
        """Request a signed directory or statement (from the service's lane only), or a canary."""
        if not self.busy:
            self._last_received = time.monotonic()
        self._open_requests.add((_ANSWERED_BY[type(request)], request.id))
        self.stream.writer.write(encode_frame(request))

    def reload(self, orders: tuple[bytes, ...], within_s: float, *, files: bool) -> None:
        """Have the lane apply these stop orders and read its files again; a starting lane does so before any chunk."""
        self._next_id += 1
        self._reloads[self._next_id] = (time.monotonic(), within_s)
        self.stream.writer.write(encode_frame(Reload(self._next_id, files, orders)))

    @property
    def reload_pending(self) -> bool:
        """Whether a lane that is ready has not answered a reload."""
        return self.ready is not None and bool(self._reloads)

    def reload_overdue(self, now: float) -> bool:
        """Whether a reload was not answered in time; counted from when the lane was ready for it."""
        return self.ready is not None and any(
            now - max(asked_at, self._ready_at) > within_s for asked_at, within_s in self._reloads.values()
        )

    def stop(self) -> None:
        """Tell the lane to exit when everything is answered."""
        self.stopping = True
        self.stream.writer.write(encode_frame(Stop()))

    def kill(self) -> None:
        """End the lane now."""
        self.stream.kill()

    async def read_until_end(self) -> None:
        """Receive messages until the lane hangs up, for whatever reason; kill it over a message that is invalid."""
        read = self.stream.reader.readexactly
        try:
            while True:
                body = await read(frame_length(await read(4), MAX_ANSWER_BYTES))
                self._last_received = time.monotonic()
                self._receive(read_answer(body))
        except (asyncio.IncompleteReadError, OSError):
            return  # it has exited, or is about to: the exit code gives the reason
        except ValueError as error:
            self.invalid = str(error)
            self.stream.kill()  # the lane is replaced

    def _receive(self, message: FromLane) -> None:
        if isinstance(message, Outcomes):
            self._chunk_answered(message)
        elif isinstance(message, RequestAnswer):
            self._request_answered(message)
        elif isinstance(message, Reloaded):
            if self._reloads.pop(message.id, None) is None:
                raise AnswerInvalid("a reload is confirmed that was not requested")
            self.reload_problem, self.tenant_epoch = message.problem, message.tenant_epoch
        elif isinstance(message, Ready):
            self._became_ready(message)
        elif isinstance(message, LaneFailure):
            self.failure = message

    def _became_ready(self, message: Ready) -> None:
        if self.ready not in {None, message}:
            raise AnswerInvalid("the lane reports two different logins")
        objection = self._token_check.objection_to(message)
        if objection:
            self.failure = LaneFailure(objection, OPEN_CIRCUIT, False)
            self.stream.kill()
            return
        if self.ready is None:
            self.tenant_epoch = message.tenant_epoch
        self.ready = message
        self._ready_at = self._last_received
        self.became_ready.set()

    def _request_answered(self, answer: RequestAnswer) -> None:
        request = type(answer), answer.id
        if request in self._open_requests:  # else it was not requested, and proves nothing
            self._open_requests.remove(request)
            self.operations.add(answer.operations or ())
            self._listener.request_answered(answer)

    def _chunk_answered(self, answer: Outcomes) -> None:
        chunk = self.outstanding.get(answer.id)
        if chunk is None or not _fits(chunk, answer):
            raise AnswerInvalid("an answer fits no outstanding chunk")  # still owed: another lane signs it
        del self.outstanding[answer.id]
        self.operations.add(_made(chunk, answer) if answer.operations is None else answer.operations)
        busy_s = self._last_received - max(chunk.sent_at, self._free_at)
        self._free_at = self._idle_since = self._last_received
        self._listener.chunk_answered(self, chunk, answer, busy_s)

    def take_outstanding(self) -> deque[ChunkSent]:
        """Remove and return the chunks of a lane that has exited, in the order of sending."""
        left = deque(self.outstanding.values())
        self.outstanding.clear()
        return left


def _fits(chunk: ChunkSent, answer: Outcomes) -> bool:
    """Whether there is an outcome for each digest: a signature, its own error, or an error of its slice."""
    return len(chunk.slices) == len(answer.items) and all(
        item.error is not None or (len(item.signatures) == slice_.count and _each_has_one(item))
        for slice_, item in zip(chunk.slices, answer.items, strict=True)
    )


def _made(chunk: ChunkSent, answer: Outcomes) -> list[KeyOperations]:
    """Signatures in the answer of a lane that counts no calls."""
    key = chunk.group.key
    return [
        KeyOperations(key, item.key_version, len(item.signatures) - len(item.errors)) for item in answer.items
    ]


def _each_has_one(item: SliceOutcome) -> bool:
    signatures, errors = item.signatures, item.errors
    return signatures.count(None) == len(errors) and all(
        0 <= i < len(signatures) and signatures[i] is None for i in errors
    )
