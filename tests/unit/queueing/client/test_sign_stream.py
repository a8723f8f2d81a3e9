"""Signing of a stream: outcomes in input order, a bounded number of slices, and an end at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from queueing.aio.owned_tasks import OwnedTasks
from queueing.client.sign_stream import DigestStream
from queueing.client.signatures import Outcome
from queueing.errors import HsmFault, SigningError, WaitTimeout
from tests.support.waiting import turn


class HeldSigner:
    """Signs a slice when the test lets it go: the outcome of each digest is an error that has it as its message."""

    def __init__(self) -> None:
        self.under_way: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    async def sign_slice(self, digests: list[object]) -> list[Outcome]:
        name = "".join(str(digest) for digest in digests)
        self.begun.append(name)
        let_go = self.under_way[name] = asyncio.Event()
        try:
            await let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        del self.under_way[name]
        return [HsmFault(str(digest)) for digest in digests]

    def release(self, name: str) -> None:
        self.under_way[name].set()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[OwnedTasks]:
    tasks = OwnedTasks()
    await tasks.open()
    try:
        yield tasks
    finally:
        await tasks.close()


def messages(outcomes: list[Outcome]) -> str:
    return "".join(outcome.message for outcome in outcomes if isinstance(outcome, SigningError))


async def test_outcomes_come_in_the_order_of_the_input() -> None:
    """Also where a later slice is signed first; the last slice may be shorter."""
    signer = HeldSigner()
    async with opened() as tasks:
        outcomes = DigestStream(signer, tasks, "abcde", 2).outcomes()
        first = asyncio.ensure_future(anext(outcomes))
        await turn()
        assert signer.begun == ["ab", "cd", "e"]
        signer.release("e")
        signer.release("cd")
        await turn()
        assert not first.done()
        signer.release("ab")
        assert messages(await first) == "ab"
        assert [messages(each) async for each in outcomes] == ["cd", "e"]


async def test_no_more_slices_are_under_way_than_allowed() -> None:
    """The source is not read further until the outcomes of a slice were taken."""
    signer, read = HeldSigner(), []

    def source() -> Iterator[str]:
        for letter in "abcdef":
            read.append(letter)
            yield letter

    async with opened() as tasks:
        outcomes = DigestStream(signer, tasks, source(), 1, under_way=2).outcomes()
        first = asyncio.ensure_future(anext(outcomes))
        await turn()
        assert signer.begun == ["a", "b"]
        assert read == ["a", "b", "c"]
        signer.release("b")
        await turn()
        assert signer.begun == ["a", "b"]
        signer.release("a")
        assert messages(await first) == "a"
        await turn()
        assert signer.begun == ["a", "b"]


async def test_answers_that_come_at_once_let_more_slices_be_under_way() -> None:
    """Each answer that the stream waited for, with its window full, makes a place for one more."""
    signer = HeldSigner()
    async with opened() as tasks:
        outcomes = DigestStream(signer, tasks, "abcdefgh", 1, under_way=2).outcomes()
        for letter, begun in zip("ab", ("ab", "abcd"), strict=True):
            first = asyncio.ensure_future(anext(outcomes))
            await turn()
            assert "".join(signer.begun) == begun
            signer.release(letter)
            assert messages(await first) == letter
        third = asyncio.ensure_future(anext(outcomes))
        await turn()
        assert "".join(signer.begun) == "abcdef"
        third.cancel()
        await asyncio.wait([third])


async def test_an_error_of_the_source_comes_after_the_outcomes_before_it() -> None:
    """The digests that were read are signed; then the source's own error is raised."""
    signer = HeldSigner()

    async def source() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        raise OSError("the file ended")

    async with opened() as tasks:
        outcomes = DigestStream(signer, tasks, source(), 1).outcomes()
        first = asyncio.ensure_future(anext(outcomes))
        await turn()
        signer.release("a")
        signer.release("b")
        assert messages(await first) == "a"
        assert messages(await anext(outcomes)) == "b"
        with pytest.raises(OSError, match="the file ended"):
            await anext(outcomes)


async def test_an_iteration_that_ends_early_cancels_what_is_under_way() -> None:
    """Their outcomes would not be read."""
    signer = HeldSigner()
    async with opened() as tasks:
        outcomes = DigestStream(signer, tasks, "abc", 1).outcomes()
        first = asyncio.ensure_future(anext(outcomes))
        await turn()
        signer.release("a")
        await first
        await outcomes.aclose()
        await turn()
        assert sorted(signer.cancelled) == ["b", "c"]


async def test_closing_the_client_ends_the_iteration_with_a_reason() -> None:
    """``WaitTimeout``, not a cancellation of the caller, which did not ask for one."""
    signer, tasks = HeldSigner(), OwnedTasks()
    await tasks.open()
    outcomes = DigestStream(signer, tasks, "ab", 1).outcomes()
    first = asyncio.ensure_future(anext(outcomes))
    await turn()
    await tasks.close()
    with pytest.raises(WaitTimeout):
        await first
