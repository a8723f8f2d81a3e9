"""Tasks that share work, and tasks that end with their owner."""

from __future__ import annotations

import asyncio

import pytest

from queueing.aio.backoff import Backoff
from queueing.aio.owned_tasks import OwnedTasks
from queueing.aio.single_flight import SingleFlight
from tests.support.clocks.fixed_random import FixedRandom
from tests.support.waiting import turn


async def test_concurrent_callers_share_one_run() -> None:
    """The work runs once, everybody gets its result in the same turn."""
    flight: SingleFlight[int] = SingleFlight()
    gate, runs = asyncio.Event(), 0

    async def work() -> int:
        nonlocal runs
        runs += 1
        await gate.wait()
        return 7

    callers = [asyncio.create_task(flight.run(work)) for _ in range(100)]
    await turn()
    gate.set()
    assert await asyncio.gather(*callers) == [7] * 100
    assert runs == 1


async def test_an_error_is_shared_too() -> None:
    """A failed run fails for all that waited, and the next call runs anew."""
    flight: SingleFlight[int] = SingleFlight()
    gate = asyncio.Event()

    async def work() -> int:
        await gate.wait()
        raise LookupError

    callers = [asyncio.create_task(flight.run(work)) for _ in range(3)]
    await turn()
    gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(o) for o in outcomes] == [LookupError] * 3


async def test_a_cancelled_run_is_taken_over() -> None:
    """Cancelling the caller that works does not cancel those that wait."""
    flight: SingleFlight[int] = SingleFlight()
    gate = asyncio.Event()

    async def work() -> int:
        await gate.wait()
        return 7

    first, second = (asyncio.create_task(flight.run(work)) for _ in range(2))
    await turn()
    first.cancel()
    gate.set()
    assert await second == 7
    assert first.cancelled()


async def test_the_end_of_a_run_can_be_waited_for() -> None:
    """By who wants no result of it; where nothing runs, at once."""
    flight: SingleFlight[bool] = SingleFlight()
    await flight.ended()
    gate = asyncio.Event()
    running = asyncio.create_task(flight.run(gate.wait))
    await turn()
    ended = asyncio.create_task(flight.ended())
    await turn()
    assert not ended.done()
    gate.set()
    await ended
    await running


async def test_owned_tasks_end_even_if_one_swallows_a_cancellation() -> None:
    """As asyncio.wait_for of Python 3.11 can: closing cancels again."""
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


def test_backoff_doubles_up_to_its_most() -> None:
    """0.1, 0.2, 0.4 … and back to the first after a success; half of it at random."""
    backoff = Backoff(first_s=0.1, most_s=0.5, randomness=FixedRandom(1.0))
    assert [backoff.next_s() for _ in range(4)] == pytest.approx([0.1, 0.2, 0.4, 0.5])
    backoff.reset()
    assert backoff.next_s() == pytest.approx(0.1)
    assert Backoff(first_s=1.0, randomness=FixedRandom(0.0)).next_s() == pytest.approx(0.5)
