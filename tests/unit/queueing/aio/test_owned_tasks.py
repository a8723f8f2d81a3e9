"""Tasks that end with their owner."""

from __future__ import annotations

import asyncio

import pytest

from queueing.aio.owned_tasks import OwnedTasks
from tests.support.waiting import turn


async def test_owned_tasks_end_even_if_one_swallows_a_cancellation() -> None:
    """``asyncio.wait_for`` of Python 3.11 can swallow one: closing cancels the task again."""
    tasks = OwnedTasks()
    await tasks.open()
    started = asyncio.Event()
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                started.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    task = tasks.start(stubborn())
    await started.wait()
    await tasks.close()
    assert task.cancelled()


async def test_an_unexpected_error_of_an_owned_task_is_raised() -> None:
    """A defect is never silent: the owner is cancelled, and closing raises it."""
    tasks = OwnedTasks()
    await tasks.open()

    async def broken() -> None:
        raise LookupError("a defect")

    tasks.start(broken())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    with pytest.raises(ExceptionGroup) as caught:
        await tasks.close()
    assert caught.group_contains(LookupError)


async def test_a_closed_group_has_no_tasks_left() -> None:
    """Closing cancels each task that still runs, and keeps the result of one that has ended."""
    tasks = OwnedTasks()
    await tasks.open()

    async def quick() -> int:
        return 7

    waits, ends = tasks.start(asyncio.Event().wait()), tasks.start(quick())
    await turn()
    await tasks.close()
    assert waits.cancelled()
    assert ends.result() == 7
    assert tasks.closed
