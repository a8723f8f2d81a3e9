"""Ctrl-C and SIGTERM of a command that waits: a sentence at once, and the end within a second."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

from queueing.aio.runner import run
from workers.cli.shell.output import print_message

T = TypeVar("T")

_GRACE_S: Final = 0.8
"""Time to leave in order; what blocks longer (a read of a pipe, Redis) is left as it is."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    """Work that can be stopped."""

    def stopped_text(self) -> str:
        """Sentence for the person who stopped it: the state of the work, and the way back to it."""


class Stopped(BaseException):
    """The command was stopped by a signal, and has said so. Not an ``Exception``, as KeyboardInterrupt is none."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def run_stoppable(work: Coroutine[Any, Any, T], subject: Stoppable) -> T:
    """Run ``work`` to its end on a new event loop; raises ``Stopped`` after a signal.

    A second signal, or a second without an end, ends the process.
    """
    return run(_watched(work, subject))


async def _watched(work: Coroutine[Any, Any, T], subject: Stoppable) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    exit_codes: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        code = 128 + number
        if exit_codes:
            os._exit(code)
        exit_codes.append(code)
        watchdog = threading.Timer(_GRACE_S, os._exit, (code,))
        watchdog.daemon = True
        watchdog.start()
        print_message(subject.stopped_text())
        loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        return await work
    except asyncio.CancelledError:
        if exit_codes:
            raise Stopped(exit_codes[0]) from None
        raise
    finally:
        if not exit_codes:
            for number, handler in before.items():
                signal.signal(number, handler)
