"""A pytest plugin: event loops whose clock does not run while a busy machine keeps them waiting, for arq's own tests.

These sleep for a tenth of a second and then expect that a worker has done its work, which takes it some turns of the loop
and some replies of Redis. Here such a turn, and such a wait, is ``TURN_S`` of the clock at most, however long it took. Where
no call waits for Redis the loop sleeps as long as was asked for, in real time.

This runs in arq's suite: import nothing of ours here.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio.connection import AbstractConnection

if TYPE_CHECKING:
    from collections.abc import Callable

TURN_S: Final = 0.0001
"""About what it takes on an idle machine."""

LONGEST_REPLY_S: Final = 60.0
"""Then the timers run on: a reply that never comes must not hang the suite."""


class PatientSelector(selectors.DefaultSelector):
    """Selector that keeps the clock of its loop. ``replies``: calls that wait for Redis now."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._returned_at_s = clock_s()
        self.now_s = self._returned_at_s
        self.replies = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as long as was asked for, and for a reply of Redis longer."""
        asked_at_s = self._clock_s()
        self.now_s += min(asked_at_s - self._returned_at_s, TURN_S)
        patient = self.replies > 0 and timeout is not None and timeout > 0
        events = super().select(LONGEST_REPLY_S if patient else timeout)
        self._returned_at_s = self._clock_s()
        waited_s = self._returned_at_s - asked_at_s
        if patient and events:
            self.now_s += min(waited_s, TURN_S)
        elif timeout is not None:
            self.now_s += min(waited_s, timeout)
        return events


class PatientLoop(asyncio.SelectorEventLoop):
    """The event loop with that clock."""

    def __init__(self, selector: PatientSelector | None = None) -> None:
        self.patience = selector or PatientSelector()
        super().__init__(self.patience)

    def time(self) -> float:
        """Seconds, which began as those of ``time.monotonic`` and fall behind it."""
        return self.patience.now_s


class PatientPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes loops of that kind."""

    _loop_factory = PatientLoop


def count_replies() -> None:
    """Let redis-py tell the loop when it waits for a reply."""
    read = AbstractConnection.read_response

    async def read_response(self: AbstractConnection, *args: Any, **options: Any) -> Any:
        patience = getattr(asyncio.get_running_loop(), "patience", None)
        if patience is None:
            return await read(self, *args, **options)
        patience.replies += 1
        try:
            return await read(self, *args, **options)
        finally:
            patience.replies -= 1

    AbstractConnection.read_response = read_response  # type: ignore[method-assign]  # wraps it


def pytest_configure() -> None:
    """Give all tests of this run such loops."""
    asyncio.set_event_loop_policy(PatientPolicy())
    count_replies()
