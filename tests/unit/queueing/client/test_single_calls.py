"""Single calls that share an envelope: a call that gives up disturbs no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from queueing.aio.owned_tasks import OwnedTasks
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest, Target
from queueing.client.single_calls import SingleCalls
from queueing.errors import GrantExhausted, QueueUnavailable, SigningError, WaitTimeout
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, KeyKind
from queueing.protocol.envelope import MAX_DIGESTS
from tests.support.waiting import turn

TARGET = Target("release", 1, DEFAULT_FOR_KEY[KeyKind.P256])
LONG_AGO_S = 0.0
LONG_AFTER_S = 1e12
DEADLINE_S = 3600.0
DIGESTS = [bytes([i]) * 32 for i in range(3)]


class FakeRunner:
    """A runner that answers when the test sets ``answer``, and notes that it was cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.answer = asyncio.Event()
        self.stopped = asyncio.Event()
        self.on_late: Callable[[], object] = lambda: None
        self.largest_envelope = MAX_DIGESTS
        self.covered = MAX_DIGESTS
        self.sizes: list[int] = []

    @property
    def busy(self) -> bool:
        return False

    def job_id(self, _request: SigningRequest) -> str:
        return "job"

    async def run(self, request: SigningRequest, _deadline_s: float | None) -> list[Outcome]:
        self.started.set()
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        self.sizes.append(len(request.digests))
        if len(request.digests) > self.covered:
            self.largest_envelope = self.covered
            return [GrantExhausted()] * len(request.digests)
        return [_signature(digest) for digest in request.digests]

    def why_unanswered(self, job_id: str, what_happened: str) -> SigningError:
        self.on_late()
        return WaitTimeout(what_happened, job_ids=(job_id,))


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


class FakeReceipts:
    """Receipts that come when the test sets ``come``."""

    def __init__(self) -> None:
        self.come = asyncio.Event()

    async def attach(
        self, digests: Sequence[bytes], outcomes: Sequence[Outcome], *, deadline_s: float | None
    ) -> list[Outcome]:
        del deadline_s
        await self.come.wait()
        pairs = zip(digests, outcomes, strict=True)
        return [replace(o, receipt=d) if isinstance(o, Signature) else o for d, o in pairs]


async def _with_calls(work: Callable[[SingleCalls, FakeRunner], Coroutine[Any, Any, None]]) -> None:
    runner, tasks = FakeRunner(), OwnedTasks()
    await tasks.open()
    calls = SingleCalls(runner, tasks, linger_s=0.0, receipts=FakeReceipts())
    try:
        await work(calls, runner)
    finally:
        await tasks.close()


def _start(calls: SingleCalls, deadlines: Sequence[float | None]) -> list[asyncio.Task[Signature]]:
    return [
        asyncio.create_task(calls.sign(TARGET, digest, deadline_s))
        for digest, deadline_s in zip(DIGESTS, deadlines, strict=False)
    ]


def soon() -> float:
    """A deadline that passes when the test calls ``pass_deadlines``."""
    return asyncio.get_running_loop().time() + DEADLINE_S


async def pass_deadlines(runner: FakeRunner) -> None:
    """Move the loop's clock past the deadlines, once the envelope is under way."""
    await runner.started.wait()
    loop = asyncio.get_running_loop()
    time_s = loop.time
    loop.time = lambda: time_s() + 2 * DEADLINE_S  # type: ignore[method-assign]


def test_a_call_whose_deadline_passes_before_its_envelope_is_begun_names_no_job() -> None:
    """Nothing was sent, so that there is no job to wait for."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        (late,) = _start(calls, [LONG_AGO_S])
        with pytest.raises(QueueUnavailable, match="the deadline passed before the digest was sent"):
            await late

    asyncio.run(_with_calls(work))


def test_the_calls_of_a_client_that_is_closed_are_told_how_far_their_jobs_are() -> None:
    """By the runner, which has begun."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        (sent,) = _start(calls, [None])
        await runner.started.wait()
        calls.close()
        with pytest.raises(WaitTimeout, match="the client was closed") as raised:
            await sent
        assert raised.value.job_ids == ("job",)

    asyncio.run(_with_calls(work))


def test_the_calls_of_a_client_that_is_closed_before_their_envelope_is_begun_name_no_job() -> None:
    """It is cut, and nothing of it was sent."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        (waiting,) = _start(calls, [None])
        await turn(2)
        assert calls._under_way
        assert not runner.started.is_set()
        calls.close()
        with pytest.raises(QueueUnavailable, match="the client was closed before the digest was sent"):
            await waiting

    asyncio.run(_with_calls(work))


def test_a_late_call_is_told_its_job_and_the_others_get_their_signatures() -> None:
    """A call past its deadline gets ``WaitTimeout`` with the job id; the other calls of the envelope get signatures."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        late, *others = _start(calls, [soon(), None, None])
        await pass_deadlines(runner)
        await asyncio.wait((late,))
        runner.answer.set()
        assert [(await task).signature for task in others] == [digest[::-1] for digest in DIGESTS[1:]]
        with pytest.raises(WaitTimeout) as raised:
            await late
        assert raised.value.job_ids == ("job",)

    asyncio.run(_with_calls(work))


def test_an_envelope_that_all_have_left_is_waited_for_no_more() -> None:
    """The envelope's task is cancelled when the last of its calls is cancelled."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        tasks = _start(calls, [None] * 3)
        await runner.started.wait()
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(10):
            await runner.stopped.wait()

    asyncio.run(_with_calls(work))


def test_an_envelope_whose_calls_are_all_late_is_waited_for_no_more() -> None:
    """The envelope's task is cancelled when all of its calls passed their deadlines."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        late = _start(calls, [soon()] * 3)
        await pass_deadlines(runner)
        async with asyncio.timeout(10):
            await runner.stopped.wait()
        answers = await asyncio.gather(*late, return_exceptions=True)
        assert [type(answer) for answer in answers] == [WaitTimeout] * 3

    asyncio.run(_with_calls(work))


def test_a_call_that_is_late_and_cancelled_in_one_moment_leaves_once() -> None:
    """A call that times out and is cancelled in one moment is counted once: the envelope waits for the other."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        late, other = _start(calls, [soon(), None])
        runner.on_late = lambda: asyncio.get_running_loop().call_soon(late.cancel)
        await pass_deadlines(runner)
        await asyncio.gather(late, return_exceptions=True)
        assert late.cancelled()
        runner.answer.set()
        assert (await other).signature == DIGESTS[1][::-1]
        assert not runner.stopped.is_set()

    asyncio.run(_with_calls(work))


async def test_calls_that_want_receipts_share_an_envelope_of_their_own_and_get_them() -> None:
    """The others get their signatures before."""
    runner, tasks, receipts = FakeRunner(), OwnedTasks(), FakeReceipts()
    runner.answer.set()
    await tasks.open()
    calls = SingleCalls(runner, tasks, linger_s=0.0, receipts=receipts)
    wanting = [asyncio.create_task(calls.sign(TARGET, d, None, receipt=True)) for d in DIGESTS[:2]]
    without = await calls.sign(TARGET, DIGESTS[2], None)
    assert without.receipt is None
    assert not any(task.done() for task in wanting)
    receipts.come.set()
    assert [(await task).receipt for task in wanting] == DIGESTS[:2]
    await tasks.close()


async def test_a_deadline_before_the_receipt_comes_loses_no_signature() -> None:
    runner, tasks = FakeRunner(), OwnedTasks()
    runner.answer.set()
    await tasks.open()
    calls = SingleCalls(runner, tasks, linger_s=0.0, receipts=FakeReceipts())
    outcome = asyncio.create_task(calls.sign(TARGET, DIGESTS[0], LONG_AFTER_S, receipt=True))
    await turn()
    assert not outcome.done()
    await tasks.close()
    signature = await outcome
    assert (signature.signature, signature.receipt) == (DIGESTS[0][::-1], None)


async def test_a_call_that_is_cancelled_while_its_receipt_is_waited_for_leaves_the_others() -> None:
    runner, tasks, receipts = FakeRunner(), OwnedTasks(), FakeReceipts()
    runner.answer.set()
    await tasks.open()
    calls = SingleCalls(runner, tasks, linger_s=0.0, receipts=receipts)
    one, other = [asyncio.create_task(calls.sign(TARGET, d, None, receipt=True)) for d in DIGESTS[:2]]
    await turn()
    one.cancel()
    await asyncio.wait((one,))
    assert one.cancelled()
    receipts.come.set()
    assert (await other).receipt == DIGESTS[1]
    await tasks.close()


@pytest.mark.parametrize(
    "known, covered, sizes",
    [(MAX_DIGESTS, MAX_DIGESTS, [3]), (2, 2, [2, 1]), (MAX_DIGESTS, 2, [3, 2, 1])],
    ids=["one envelope", "two", "a cap that was lowered meanwhile"],
)
def test_calls_travel_in_envelopes_that_a_grant_covers(known: int, covered: int, sizes: list[int]) -> None:
    """As many as there have to be; every call gets its own signature."""

    async def work(calls: SingleCalls, runner: FakeRunner) -> None:
        runner.answer.set()
        runner.largest_envelope, runner.covered = known, covered
        signed = await asyncio.gather(*_start(calls, [None] * 3))
        assert [each.signature for each in signed] == [digest[::-1] for digest in DIGESTS]
        assert runner.sizes == sizes

    asyncio.run(_with_calls(work))
