"""``sign()`` calls: each has one digest and a future of its own, and travels in an envelope with others."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable

from queueing.aio.owned_tasks import CLOSED, OwnedTasks
from queueing.client.coalescing import Coalescer
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest, Target
from queueing.errors import QueueUnavailable, SigningError, WaitTimeout
from queueing.protocol.envelope import MAX_DIGESTS
from queueing.protocol.priorities import Priority

Perform = Callable[[SigningRequest], Awaitable[list[Outcome]]]


class _Call:
    """One digest on its way; ``envelope`` is set when it is cut."""

    __slots__ = ("digest", "envelope", "outcome")

    def __init__(self, digest: bytes, outcome: asyncio.Future[Signature]) -> None:
        self.digest = digest
        self.outcome = outcome
        self.envelope: _Envelope | None = None

    def leave(self) -> None:
        """The caller gave up."""
        if self.envelope is not None:
            self.envelope.leave()


class _Envelope:
    """The calls that travel together; its task ends with the last call that waits."""

    __slots__ = ("calls", "draft", "task", "waiting")

    def __init__(self, draft: SigningRequest, calls: list[_Call]) -> None:
        self.draft = draft
        self.calls = calls
        self.waiting = len(calls)
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """One call gave up; nobody is disturbed while others wait."""
        self.waiting -= 1
        if not self.waiting and self.task is not None:
            self.task.cancel()


class SingleCalls:
    """Coalesces concurrent calls. ``busy``: whether envelopes are under way."""

    def __init__(
        self,
        perform: Perform,
        tasks: OwnedTasks,
        *,
        job_id: Callable[[SigningRequest], str],
        why_unanswered: Callable[[str], SigningError],
        busy: Callable[[], bool],
        linger_s: float,
    ) -> None:
        self._perform = perform
        self._tasks = tasks
        self._job_id = job_id
        self._why_unanswered = why_unanswered
        self._coalescer: Coalescer[tuple[Target, Priority], _Call] = Coalescer(
            self._send,
            scheduler=asyncio.get_running_loop(),
            busy=busy,
            linger_s=linger_s,
            most=MAX_DIGESTS,
        )

    async def sign(
        self,
        target: Target,
        digest: bytes,
        deadline_s: float | None,
        priority: Priority = Priority.NORMAL,
    ) -> Signature:
        """One signature; raises the ``SigningError`` of this digest."""
        loop = asyncio.get_running_loop()
        call = _Call(digest, loop.create_future())
        self._coalescer.add((target, priority), call)
        # A timer of its own, and none without a deadline: asyncio.timeout() was a third of the client's CPU.
        timer = None if deadline_s is None else loop.call_at(deadline_s, self._give_up, call)
        try:
            return await call.outcome
        except asyncio.CancelledError:
            if call.outcome.cancelled():  # not one that had given up, or had its answer, in the same moment
                call.leave()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """End the calls that were not sent."""
        for call in self._coalescer.take_all():
            _set(call, QueueUnavailable(CLOSED))

    def _give_up(self, call: _Call) -> None:
        if not call.outcome.done():
            call.outcome.set_exception(self._late(call))
            call.leave()

    def _late(self, call: _Call) -> SigningError:
        if call.envelope is None:
            return QueueUnavailable("the deadline passed before the digest was sent")
        return self._why_unanswered(self._job_id(call.envelope.draft))

    def _send(self, key: tuple[Target, Priority], calls: list[_Call]) -> None:
        calls = [call for call in calls if not call.outcome.done()]
        if not calls:
            return
        target, priority = key
        envelope = _Envelope(
            SigningRequest.of(target, [call.digest for call in calls], None, priority), calls
        )
        for call in calls:
            call.envelope = envelope
        envelope.task = self._tasks.start(self._run(envelope))

    async def _run(self, envelope: _Envelope) -> None:
        try:
            outcomes = await self._perform(envelope.draft)
        except asyncio.CancelledError:
            closed = WaitTimeout(CLOSED, job_ids=(self._job_id(envelope.draft),))
            for call in envelope.calls:
                _set(call, closed)
            raise
        for call, outcome in zip(envelope.calls, outcomes, strict=True):
            _set(call, outcome)


def _set(call: _Call, outcome: Outcome) -> None:
    if call.outcome.done():
        return
    if isinstance(outcome, SigningError):
        # Each caller raises its own: one exception in many tasks would grow one traceback out of all.
        call.outcome.set_exception(copy.copy(outcome))
    else:
        call.outcome.set_result(outcome)
