"""``sign()`` calls of a client: each has one digest and a future of its own, and shares an envelope with concurrent calls."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import msgspec
from msgspec.structs import replace

from queueing.aio.coalescer import Coalescer
from queueing.aio.owned_tasks import CLOSED, THE_CLIENT_WAS_CLOSED, OwnedTasks
from queueing.client.request_runner import is_too_large
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest, Target
from queueing.errors import QueueUnavailable, ReceiptMissing, SigningError
from queueing.protocol.envelope import MAX_DIGESTS
from queueing.protocol.priorities import Priority


class Runner(Protocol):
    """The part of ``queueing.client.request_runner.RequestRunner`` that single calls need."""

    @property
    def busy(self) -> bool:
        """Whether envelopes are under way."""

    @property
    def largest_envelope(self) -> int:
        """Digests of one envelope at most."""

    def job_id(self, request: SigningRequest) -> str:
        """The id that the request's job has or will have."""

    def why_unanswered(self, job_id: str, what_happened: str) -> SigningError:
        """The error of a caller who stops waiting for this job because of ``what_happened``."""

    async def run(self, request: SigningRequest, deadline_s: float | None) -> list[Outcome]:
        """One outcome per digest, in order."""


class ReceiptSource(Protocol):
    """The part of ``queueing.client.receipts.ReceiptCollector`` that single calls need."""

    async def attach(
        self, digests: Sequence[bytes], outcomes: Sequence[Outcome], *, deadline_s: float | None
    ) -> list[Outcome]:
        """The outcomes of a whole job, with their receipts where these come. Raises nothing."""


class _Group(msgspec.Struct, frozen=True):
    """Common part of calls that may share an envelope."""

    target: Target
    priority: Priority
    receipt: bool


class _Call:
    """One digest on its way; ``envelope`` is set when it is cut. ``complete``: its signature once more, when it has its receipt,
    or gets none.
    """

    __slots__ = ("complete", "digest", "envelope", "outcome")

    def __init__(self, digest: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.digest = digest
        self.outcome: asyncio.Future[Signature] = loop.create_future()
        self.complete: asyncio.Future[Outcome] = loop.create_future()
        self.envelope: _Envelope | None = None

    def abandon(self) -> None:
        """The caller gave up."""
        if self.envelope is not None:
            self.envelope.abandon_call()


class _Envelope:
    """The calls that travel together; its task is cancelled when the last call that waits is abandoned.

    ``begun``: its request is being run, and the runner knows how far it is.
    """

    __slots__ = ("begun", "calls", "request", "task", "waiting")

    def __init__(self, request: SigningRequest, calls: list[_Call]) -> None:
        self.request = request
        self.calls = calls
        self.waiting = len(calls)
        self.begun = False
        self.task: asyncio.Task[None] | None = None

    def abandon_call(self) -> None:
        """One caller gave up; the others still get their outcomes."""
        self.waiting -= 1
        if not self.waiting and self.task is not None:
            self.task.cancel()


class SingleCalls:
    """The ``sign()`` calls of one client; the sink of its ``Coalescer``."""

    def __init__(
        self, runner: Runner, tasks: OwnedTasks, *, linger_s: float, receipts: ReceiptSource
    ) -> None:
        self._runner = runner
        self._tasks = tasks
        self._receipts = receipts
        self._under_way: set[_Envelope] = set()
        self._coalescer: Coalescer[_Group, _Call] = Coalescer(
            self, scheduler=asyncio.get_running_loop(), linger_s=linger_s, most=MAX_DIGESTS
        )

    async def sign(
        self,
        target: Target,
        digest: bytes,
        deadline_s: float | None,
        priority: Priority = Priority.NORMAL,
        *,
        receipt: bool = False,
    ) -> Signature:
        """One signature; raises the ``SigningError`` of this digest. With ``receipt`` it waits for that, too."""
        loop = asyncio.get_running_loop()
        call = _Call(digest)
        self._coalescer.add(_Group(target, priority, receipt), call)
        # A timer of its own, and none without a deadline: asyncio.timeout() was a third of the client's CPU.
        timer = None if deadline_s is None else loop.call_at(deadline_s, self._time_out, call)
        try:
            signature = await call.outcome
            return await _completed(call, signature, deadline_s) if receipt else signature
        except asyncio.CancelledError:
            if call.outcome.cancelled() or (
                receipt and not call.complete.done()
            ):  # not one that had timed out, or had its outcome, in the same moment
                call.abandon()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Fail the calls that wait: those of jobs that the queue has with their ids, the others without."""
        for call in self._coalescer.clear():
            _finish(call, QueueUnavailable(CLOSED))
        for envelope in self._under_way:
            why = self._why_unanswered(envelope, THE_CLIENT_WAS_CLOSED)
            for call in envelope.calls:
                _finish(call, why)

    @property
    def busy(self) -> bool:
        """Whether envelopes of this client are under way."""
        return self._runner.busy

    def send(self, key: _Group, items: list[_Call]) -> None:
        """Send calls that still wait: in one envelope, or in as many as there have to be."""
        waiting = iter([call for call in items if not call.outcome.done()])
        while calls := list(islice(waiting, self._runner.largest_envelope)):
            digests = [call.digest for call in calls]
            request = SigningRequest.of(key.target, digests, None, key.priority, receipt=key.receipt)
            envelope = _Envelope(request, calls)
            for call in calls:
                call.envelope = envelope
            self._under_way.add(envelope)
            envelope.task = self._tasks.start(self._run(envelope))
            envelope.task.add_done_callback(lambda _, ended=envelope: self._under_way.discard(ended))  # type: ignore[misc]

    def _time_out(self, call: _Call) -> None:
        if not call.outcome.done():
            call.outcome.set_exception(self._late(call))
            call.abandon()

    def _late(self, call: _Call) -> SigningError:
        if call.envelope is None:
            return QueueUnavailable("the deadline passed before the digest was sent")
        return self._why_unanswered(call.envelope, "the deadline passed")

    def _why_unanswered(self, envelope: _Envelope, what_happened: str) -> SigningError:
        """The error of the calls of an envelope; it names no job that was never sent."""
        if not envelope.begun:
            return QueueUnavailable(f"{what_happened} before the digest was sent")
        return self._runner.why_unanswered(self._runner.job_id(envelope.request), what_happened)

    async def _run(self, envelope: _Envelope) -> None:
        envelope.begun = True
        outcomes = await self._runner.run(envelope.request, None)
        request = envelope.request
        if is_too_large(request, outcomes, self._runner.largest_envelope):
            self.send(_Group(request.target, request.priority, request.receipt), envelope.calls)
            return
        for call, outcome in zip(envelope.calls, outcomes, strict=True):
            _finish(call, outcome)
        if envelope.request.receipt:
            await self._complete(envelope, outcomes)

    async def _complete(self, envelope: _Envelope, outcomes: list[Outcome]) -> None:
        """Hand out the signatures once more with their receipts; as they are, where the client is closed meanwhile."""
        try:
            outcomes = await self._receipts.attach(envelope.request.digests, outcomes, deadline_s=None)
        finally:
            for call, outcome in zip(envelope.calls, outcomes, strict=True):
                if not call.complete.done():
                    call.complete.set_result(outcome)


async def _completed(call: _Call, signature: Signature, deadline_s: float | None) -> Signature:
    """The signature with its receipt; without it, where the deadline passes before."""
    loop = asyncio.get_running_loop()
    wait_s = None if deadline_s is None else max(0.0, deadline_s - loop.time())
    await asyncio.wait((call.complete,), timeout=wait_s)
    if not call.complete.done():
        return replace(
            signature, receipt_missing=ReceiptMissing("the deadline passed before the receipt came")
        )
    complete = call.complete.result()
    return complete if isinstance(complete, Signature) else signature


def _finish(call: _Call, outcome: Outcome) -> None:
    if call.outcome.done():
        return
    if isinstance(outcome, SigningError):
        # Each caller raises its own: one exception in many tasks would grow one traceback out of all.
        call.outcome.set_exception(copy.copy(outcome))
    else:
        call.outcome.set_result(outcome)
