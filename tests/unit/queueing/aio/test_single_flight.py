"""Single flight: callers at the same time share one run of the work."""

from __future__ import annotations

import asyncio

from queueing.aio.single_flight import SingleFlight
from tests.support.waiting import turn


async def test_concurrent_callers_share_one_run() -> None:
    """The work runs once, and each caller gets its result."""
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
    """A failed run fails for all that waited, and the next call runs the work again."""
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

    async def works() -> int:
        return 7

    assert await flight.run(works) == 7


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
    """A caller that needs no result waits for the end of the run; where nothing runs, it returns at once."""
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
