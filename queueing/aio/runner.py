"""Event loop of a command or process: uvloop, for the length of one coroutine."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import uvloop

T = TypeVar("T")

_CLOSE_S: Final = 0.5
"""Longest wait for a loop to close. Nothing of the work is left by then but look-ups of names: ``getaddrinfo`` cannot be cancelled,
and a resolver that does not answer holds it for ten to thirty seconds."""


_closing: Final[list[threading.Thread]] = []
"""Threads that close loops, with the one of this process that has not come to its end."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on a new uvloop event loop, and return its result.

    Look-ups of names that are left over delay neither the result nor the end of the process.
    """
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_handle)
    runner = asyncio.Runner(loop_factory=lambda: loop)
    try:
        return runner.run(work)
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left on the loop, then close it in a thread that is not waited for beyond ``_CLOSE_S``."""
    loop.run_until_complete(_end_rest(loop))
    asyncio.set_event_loop(None)
    closing = threading.Thread(target=loop.close, name="loop-close", daemon=True)
    closing.start()
    closing.join(_CLOSE_S)
    _closing[:] = [closing] if closing.is_alive() else []


async def _end_rest(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in left:
        task.cancel()
    for ended in await asyncio.gather(*left, return_exceptions=True):
        if isinstance(ended, Exception):
            loop.call_exception_handler(
                {"message": "a task failed while the loop was closed", "exception": ended}
            )
    await loop.shutdown_asyncgens()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        loop.remove_signal_handler(number)  # uvloop can only do that in the main thread


def is_end_held_up() -> bool:
    """Whether the end of the process would wait for look-ups of names: libuv joins its threads there."""
    return any(thread.is_alive() for thread in _closing)


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an error that no task has taken, but not the late failure of a look-up whose call has ended."""
    if not isinstance(context.get("exception"), socket.gaierror):
        loop.default_exception_handler(context)
