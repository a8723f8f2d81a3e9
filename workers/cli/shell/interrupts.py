"""Ctrl-C and SIGTERM of a command that waits: a sentence at once, and the end within a second; of one that changes, its clean-up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Collection, Coroutine, Iterator
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

from queueing.aio.runner import run
from workers.cli.shell.output import print_message

T = TypeVar("T")

_GRACE_S: Final = 0.8
"""Time to leave in order; what blocks longer (a read of a pipe, Redis) is left as it is."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""They end a process at once by default; SIGHUP comes with the end of a terminal or a connection to it."""


class Stoppable(Protocol):
    """Work that can be stopped."""

    def stopped_text(self) -> str:
        """Sentence for the person who stopped it: the state of the work, and the way back to it."""


class Stopped(BaseException):
    """The command was stopped by a signal, and has said so. Not an ``Exception``, as KeyboardInterrupt is none."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@contextlib.contextmanager
def with_clean_up() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it began is cleaned up. Raises ``Stopped``.

    A signal that is ignored (nohup) stays so. For the main thread.
    """
    before = {
        number: signal.signal(number, _stop_here)
        for number in _ENDING
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_here(number: int, _: FrameType | None) -> None:
    raise Stopped(128 + number)


@contextlib.contextmanager
def ends_task(numbers: Collection[signal.Signals], told: str) -> Iterator[None]:
    """Let these signals cancel the task that the block is in: it ends in order, and says ``told``. Raises ``Stopped``.

    The handlers are those of the event loop, and stay behind the block until others take their place. A signal that is ignored stays so.
    """
    loop, task, received = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    assert task is not None
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, _cancel, task, received, number)
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        print_message(told)
        raise Stopped(128 + received[0]) from None


def _cancel(task: asyncio.Task[Any], received: list[int], number: int) -> None:
    received.append(number)
    task.cancel()


def run_stoppable(work: Coroutine[Any, Any, T], subject: Stoppable) -> T:
    """Run ``work`` to its end on a new event loop; raises ``Stopped`` after a signal.

    A second signal, or a second without an end, ends the process.
    """
    stop = _Stop(subject)
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        return run(stop.watched(work))
    except asyncio.CancelledError:
        if stop.exit_code is not None:
            raise Stopped(stop.exit_code) from None
        raise
    finally:
        work.close()  # a signal before its first step has left it unstarted; it does nothing to one that has ended
        if stop.exit_code is None:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Stop:
    """Signal handler that cancels the work. It is in place before the event loop: a signal may come at any time."""

    def __init__(self, subject: Stoppable) -> None:
        self.exit_code: int | None = None
        self._subject = subject
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        code = 128 + number
        if self.exit_code is not None:
            os._exit(code)
        self.exit_code = code
        watchdog = threading.Timer(_GRACE_S, os._exit, (code,))
        watchdog.daemon = True
        watchdog.start()
        print_message(self._subject.stopped_text())
        if self._running is not None:
            loop, task = self._running
            loop.call_soon_threadsafe(task.cancel)

    async def watched(self, work: Coroutine[Any, Any, T]) -> T:
        """The work, cancelled by a signal that came before it or comes in the middle of it."""
        task = asyncio.current_task()
        assert task is not None
        self._running = asyncio.get_running_loop(), task
        if self.exit_code is not None:
            raise asyncio.CancelledError
        return await work
