"""Waiting for an event, up to a time."""

from __future__ import annotations

import asyncio

from queueing.aio.events import wait_for

HANG_S = 60.0


async def test_an_event_that_is_set_while_it_is_awaited_is_reported() -> None:
    """The waiter returns at once, not after its time."""
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_for(event, HANG_S)


async def test_an_event_that_is_not_set_in_time_is_no_error() -> None:
    """The answer is no, and the event may still be awaited."""
    event = asyncio.Event()
    assert not await wait_for(event, 0.0)
    event.set()
    assert await wait_for(event, HANG_S)
