"""Shutdown deadline: ``drain_s`` from the first SIGTERM, even when something hangs.

The greater part of ``drain_s`` is for jobs that are in the HSM; a reserve is kept for returning those that it did not
finish, and for closing. A thread then ends the process: a C call, a disk or a socket that hangs cannot be waited for,
and everything that matters is in the log and in the leases. ``SigningService.run`` in ``workers/service.py`` has the steps in
their order; ``SigningWorker.handle_sig`` in ``workers/worker.py`` starts the thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from workers.telemetry.log_writer import flush_logs

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("sigmill.service")

LONGEST_RESERVE_S: Final = 3.0

CLAIM_GRACE_S: Final = 1.0
"""Longest wait for the reply to a claim under way, so that its jobs can be returned."""

HURRY_S: Final = 1.0
"""Time from a second SIGTERM to the end of the process."""

EXIT_FORCED: Final = 1


class ShutdownDeadline:
    """Deadline of one worker. ``asked`` is set from the first SIGTERM on: nothing new is begun.

    ``drain_s``: seconds from the first SIGTERM to the end of the process, as configured at the start. A reload does not
    change it: the steps below and the thread that ends the process must agree on it.
    """

    def __init__(self, drain_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.drain_s = drain_s
        self._clock_s = clock_s
        self._deadline: float | None = None
        self._reserve_s = min(drain_s / 3, LONGEST_RESERVE_S)
        self.asked = asyncio.Event()

    def ask(self) -> None:
        """Begin the shutdown; later calls change nothing."""
        if self._deadline is None:
            self._deadline = self._clock_s() + self.drain_s
            self.asked.set()

    def _left_s(self, reserve_s: float) -> float:
        """Time left until ``reserve_s`` before the deadline; before the shutdown begins, as if it began now."""
        deadline = self._clock_s() + self.drain_s if self._deadline is None else self._deadline
        return max(deadline - reserve_s - self._clock_s(), 0.0)

    @property
    def to_finish_s(self) -> float:
        """Seconds left for jobs that are in the HSM."""
        return self._left_s(self._reserve_s)

    @property
    def to_return_s(self) -> float:
        """Seconds left for returning jobs that were not finished."""
        return self._left_s(self._reserve_s * 2 / 3)

    @property
    def to_close_s(self) -> float:
        """Seconds for one of the last steps: half of what is left, so that the next has time too."""
        return self._left_s(0.0) / 2


def end_process_after(delay_s: float) -> None:
    """End this process after ``delay_s`` seconds, by a thread, if it has not ended by then."""
    timer = threading.Timer(delay_s, _end_process)
    timer.daemon = True
    timer.start()


def _end_process() -> None:
    log.error("service.ended_by_deadline")
    flush_logs()
    os._exit(EXIT_FORCED)
