"""Signing of many digests in input order: slices of the input, a window of them under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from queueing.aio.growing_window import GrowingWindow
from queueing.aio.owned_tasks import CLOSED, OwnedTasks, end_tasks
from queueing.client.signatures import Outcome
from queueing.client.signing_request import SigningRequest, Target, split_valid
from queueing.client.submitted_job import merged
from queueing.errors import WaitTimeout
from queueing.protocol.priorities import Priority

if TYPE_CHECKING:
    from queueing.client.receipts import Runner

SLICES_UNDER_WAY: Final = 128
"""At first: 8,192 digests of 64 per slice, enough for 20,000 signatures/s at 0.4 s from end to end."""

SLICES_WITH_RECEIPTS: Final = 512
"""At first, for as many signatures/s while a slice waits for its receipts for a second or two."""

MOST_SLICES: Final = 1024
"""While answers come soon: 65,536 digests of 64 per slice, enough for 160,000 signatures/s at 0.4 s from end to end."""

_SliceTask = asyncio.Task["_Answer"]


class SliceSigner(Protocol):
    """Signer of one slice at a time: ``RequestSlices``."""

    async def sign_slice(self, digests: list[object]) -> list[Outcome]:
        """One outcome per digest, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSlices:
    """Signs each slice by a request of its own; all of them have one target, request id, priority and deadline.

    ``receipt``: each wants receipts, for which ``runner`` waits.
    """

    runner: Runner
    target: Target
    request_id: str | None
    priority: Priority
    deadline_s: float | None
    receipt: bool = False

    @property
    def under_way(self) -> int:
        """Slices that are signed at once, at first."""
        return SLICES_WITH_RECEIPTS if self.receipt else SLICES_UNDER_WAY

    async def sign_slice(self, digests: list[object]) -> list[Outcome]:
        """One outcome per digest, in order. Raises nothing."""
        good, bad = split_valid(digests)
        if not good:
            return [bad[i] for i in range(len(digests))]
        request = SigningRequest.of(self.target, good, self.request_id, self.priority, receipt=self.receipt)
        return merged(len(digests), await self.runner.run(request, self.deadline_s), bad)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Outcomes of a slice, and the time from its start to them."""

    outcomes: list[Outcome]
    after_s: float


class DigestStream:
    """The slices of one input.

    A reader task reads the source and starts a task per slice; ending the iteration early cancels them. What
    the source raises is raised after the outcomes of what came before it.
    """

    def __init__(
        self,
        signer: SliceSigner,
        tasks: OwnedTasks,
        digests: Iterable[Any] | AsyncIterable[Any],
        size: int,
        *,
        under_way: int = SLICES_UNDER_WAY,
    ) -> None:
        self._signer = signer
        self._tasks = tasks
        self._digests = digests
        self._size = size
        self._window = GrowingWindow(under_way, MOST_SLICES)
        self._started: asyncio.Queue[_SliceTask | Exception | None] = asyncio.Queue()
        self._running: set[_SliceTask] = set()

    async def outcomes(self) -> AsyncGenerator[list[Outcome], None]:
        """The outcomes of each slice, in input order; to be iterated once, and closed."""
        reader = self._tasks.start(self._read())
        try:
            while (item := await self._started.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                waited_for = not item.done()
                answer = await _answer(item)
                yield answer.outcomes
                self._window.leave(answer.after_s, waited_for=waited_for)
        finally:
            await end_tasks([reader])  # the caller may close its digests next: they are not read any more
            for task in tuple(self._running):
                task.cancel()

    async def _read(self) -> None:
        try:
            digests: list[object] = []
            async for digest in _each(self._digests):
                digests.append(digest)
                if len(digests) == self._size:
                    await self._start(digests)
                    digests = []
            if digests:
                await self._start(digests)
        except asyncio.CancelledError:
            self._started.put_nowait(WaitTimeout(CLOSED))
            raise
        except Exception as error:  # noqa: BLE001  # whatever the source raises is raised to its reader
            self._started.put_nowait(error)
        else:
            self._started.put_nowait(None)

    async def _start(self, digests: list[object]) -> None:
        await self._window.enter()
        task = self._tasks.start(self._sign(digests))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._started.put_nowait(task)

    async def _sign(self, digests: list[object]) -> _Answer:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        outcomes = await self._signer.sign_slice(digests)
        return _Answer(outcomes, loop.time() - began_s)


async def _answer(task: _SliceTask) -> _Answer:
    """Wait without owning; a task that the closing client cancelled is no cancellation of the caller."""
    if not task.done():
        await asyncio.wait((task,))
    if task.cancelled():
        raise WaitTimeout(CLOSED)
    return task.result()


async def _each(digests: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(digests, AsyncIterable):
        async for digest in digests:
            yield digest
    else:
        for digest in digests:
            yield digest
