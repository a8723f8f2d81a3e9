"""How a worker comes to its end in time: a deadline that begins with the first SIGTERM, whatever hangs.

Of ``drain_s`` the greater part is for what is in the HSM; a reserve is kept for giving back what it did not finish and
for closing. Behind the loop stands a thread that ends the process: a C call, a disk or a socket that never comes
back cannot be waited for, and everything that matters is in the log and in the leases.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("sigmill.service")

LONGEST_RESERVE_S: Final = 3.0

CLAIM_GRACE_S: Final = 1.0
"""A claim under way gets so long to be answered, so that its leases can be returned."""

HURRY_S: Final = 1.0
"""From a second SIGTERM to the end."""

EXIT_FORCED: Final = 1


class ShutdownDeadline:
    """When the worker was asked to end, and how long it still has."""

    def __init__(self, drain_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._drain_s = drain_s
        self._clock_s = clock_s
        self._deadline: float | None = None
        self._reserve_s = min(drain_s / 3, LONGEST_RESERVE_S)
        self.asked = asyncio.Event()

    def ask(self) -> None:
        """The deadline runs from the first time."""
        if self._deadline is None:
            self._deadline = self._clock_s() + self._drain_s
            self.asked.set()

    def _left_s(self, reserve_s: float) -> float:
        """Until ``reserve_s`` before the deadline; all of it before it was asked."""
        deadline = self._clock_s() + self._drain_s if self._deadline is None else self._deadline
        return max(deadline - reserve_s - self._clock_s(), 0.0)

    @property
    def to_finish_s(self) -> float:
        """For what is in the HSM."""
        return self._left_s(self._reserve_s)

    @property
    def to_return_s(self) -> float:
        """For giving back what was not finished."""
        return self._left_s(self._reserve_s * 2 / 3)

    @property
    def to_close_s(self) -> float:
        """For one of the last things that close: half of what is left, so that there is some for the next."""
        return self._left_s(0.0) / 2


def end_process_after(delay_s: float) -> None:
    """End this process then, if it is still there, by a thread that waits for nothing."""
    timer = threading.Timer(delay_s, _end_process)
    timer.daemon = True
    timer.start()


def _end_process() -> None:
    log.error("service.ended_by_deadline")
    os._exit(EXIT_FORCED)
