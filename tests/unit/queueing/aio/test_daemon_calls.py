"""Blocking calls in daemon threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from queueing.aio.daemon_calls import in_daemon_thread


async def test_the_result_comes_back() -> None:
    assert await in_daemon_thread(divmod, 7, 2) == (3, 1)


async def test_an_error_is_raised_to_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(divmod, 7, 0)


async def test_a_call_that_does_not_return_is_left_to_a_daemon_thread() -> None:
    """Its caller is cancelled at once, and the result that comes later goes nowhere."""
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    threads: list[threading.Thread] = []

    def call() -> None:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        gate.wait()

    task = asyncio.create_task(in_daemon_thread(call))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads[0].daemon
    gate.set()
    threads[0].join()
