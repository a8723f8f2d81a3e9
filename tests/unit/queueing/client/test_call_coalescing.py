"""One envelope carries the calls of many: who gives up takes nobody else's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from queueing.aio.owned_tasks import OwnedTasks
from queueing.client.call_coalescing import SingleCalls
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest, Target
from queueing.errors import SigningError, WaitTimeout
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, KeyKind

TARGET = Target("release", 1, DEFAULT_FOR_KEY[KeyKind.P256])
LONG_AGO_S = 0.0
DIGESTS = [bytes([i]) * 32 for i in range(3)]


class Service:
    """Answers an envelope when it is told to; remembers whether it was told to stop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.stopped = asyncio.Event()
        self.on_late: Callable[[], object] = lambda: None

    async def perform(self, draft: SigningRequest) -> list[Outcome]:
        self.asked.set()
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return [_signature(digest) for digest in draft.digests]

    def why_unanswered(self, job_id: str) -> SigningError:
        self.on_late()
        return WaitTimeout(job_ids=(job_id,))


def _signature(digest: bytes) -> Signature:
    return Signature(
        signature=digest[::-1],
        algorithm=TARGET.algorithm,
        key=TARGET.key,
        key_version=1,
        public_key_sha256=bytes(32),
        job_id="job",
        verified=True,
    )


async def _with_calls(work: Callable[[SingleCalls, Service], Coroutine[Any, Any, None]]) -> None:
    service, tasks = Service(), OwnedTasks()
    await tasks.open()
    calls = SingleCalls(
        service.perform,
        tasks,
        job_id=lambda _: "job",
        why_unanswered=service.why_unanswered,
        busy=lambda: False,
        linger_s=0.0,
    )
    try:
        await work(calls, service)
    finally:
        await tasks.close()


def _start(calls: SingleCalls, deadlines: Sequence[float | None]) -> list[asyncio.Task[Signature]]:
    return [
        asyncio.create_task(calls.sign(TARGET, digest, deadline_s))
        for digest, deadline_s in zip(DIGESTS, deadlines, strict=False)
    ]


def test_a_late_call_is_told_its_job_and_the_others_get_their_signatures() -> None:
    async def work(calls: SingleCalls, service: Service) -> None:
        late, *others = _start(calls, [LONG_AGO_S, None, None])
        await asyncio.wait((late,))
        service.answer.set()
        assert [(await task).signature for task in others] == [digest[::-1] for digest in DIGESTS[1:]]
        with pytest.raises(WaitTimeout) as raised:
            await late
        assert raised.value.job_ids == ("job",)

    asyncio.run(_with_calls(work))


def test_an_envelope_that_all_have_left_is_waited_for_no_more() -> None:
    async def work(calls: SingleCalls, service: Service) -> None:
        tasks = _start(calls, [None] * 3)
        await service.asked.wait()
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(10):
            await service.stopped.wait()

    asyncio.run(_with_calls(work))


def test_an_envelope_whose_calls_are_all_late_is_waited_for_no_more() -> None:
    async def work(calls: SingleCalls, service: Service) -> None:
        late = _start(calls, [asyncio.get_running_loop().time() + 0.05] * 3)
        async with asyncio.timeout(10):
            await service.stopped.wait()
        answers = await asyncio.gather(*late, return_exceptions=True)
        assert [type(answer) for answer in answers] == [WaitTimeout] * 3

    asyncio.run(_with_calls(work))


def test_a_call_that_is_late_and_cancelled_in_one_moment_leaves_once() -> None:
    async def work(calls: SingleCalls, service: Service) -> None:
        late, other = _start(calls, [LONG_AGO_S, None])
        service.on_late = lambda: asyncio.get_running_loop().call_soon(late.cancel)
        await asyncio.gather(late, return_exceptions=True)
        assert late.cancelled()
        service.answer.set()
        assert (await other).signature == DIGESTS[1][::-1]
        assert not service.stopped.is_set()

    asyncio.run(_with_calls(work))
