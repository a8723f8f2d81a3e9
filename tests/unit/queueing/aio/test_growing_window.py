"""A window grows while answers come soon and are waited for, and shrinks where they are late."""

from __future__ import annotations

import asyncio

from queueing.aio.growing_window import LATE_S, SOON_S, GrowingWindow
from tests.support.waiting import turn


async def entered(window: GrowingWindow, places: int) -> None:
    for _ in range(places):
        await window.enter()


async def test_a_full_window_doubles_in_a_round_trip() -> None:
    """Seven answers came with the one that was waited for: they make places for as many more."""
    window = GrowingWindow(8, most=64)
    await entered(window, 8)
    for _ in range(7):
        window.leave(0.1, waited_for=False)
    await entered(window, 7)
    window.leave(0.1, waited_for=True)
    assert window.size == 16
    await entered(window, 9)
    waiting = asyncio.ensure_future(window.enter())
    await turn()
    assert not waiting.done()
    window.leave(0.1, waited_for=False)
    await waiting


async def test_the_window_stops_at_its_bound() -> None:
    """However soon the answers come."""
    window = GrowingWindow(2, most=5)
    await entered(window, 2)
    for _ in range(20):
        window.leave(SOON_S, waited_for=True)
        while not window._free.locked():
            await window.enter()
    assert window.size == 5


async def test_a_window_that_is_not_full_stays() -> None:
    """The source is the limit: there is nothing to put into a larger one."""
    window = GrowingWindow(4, most=64)
    for _ in range(10):
        await entered(window, 3)
        for _ in range(3):
            window.leave(0.1, waited_for=True)
    assert window.size == 4


async def test_a_slow_reader_of_outcomes_gets_no_larger_window() -> None:
    """Its answers are there when their turn comes."""
    window = GrowingWindow(4, most=64)
    await entered(window, 4)
    for _ in range(10):
        window.leave(0.1, waited_for=False)
        await window.enter()
    assert window.size == 4


async def test_answers_that_are_neither_soon_nor_late_change_nothing() -> None:
    """The queue has some work ahead."""
    window = GrowingWindow(4, most=64)
    await entered(window, 4)
    for _ in range(10):
        window.leave((SOON_S + LATE_S) / 2, waited_for=True)
        await window.enter()
    assert window.size == 4


async def test_late_answers_take_the_grown_part_away_and_no_more() -> None:
    """The service fell behind: what waits in its queue falls to what it was at first."""
    window = GrowingWindow(4, most=64)
    await entered(window, 4)
    window.leave(0.1, waited_for=True)
    assert window.size == 5
    await entered(window, 2)
    for _ in range(4):
        window.leave(LATE_S, waited_for=True)
    assert window.size == 4
    await entered(window, 3)
    assert window._free.locked()


async def test_a_first_size_above_the_bound_is_kept() -> None:
    """The stream of a caller that asked for more."""
    window = GrowingWindow(6, most=4)
    await entered(window, 6)
    window.leave(0.1, waited_for=True)
    assert window.size == 6
