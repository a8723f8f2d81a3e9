"""Whether the event loop turns: all that ``/healthz`` asks. No Redis, no HSM, no log is behind it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT_S: Final = 0.5

PATIENCE_S: Final = 5.0
"""A loop that has not turned for so long is stuck; an honest callback is a thousand times shorter."""


class Heartbeat:
    """Beats on the running loop from ``start`` to ``stop``; ``late`` is told how late each beat was, in seconds.

    ``seen_at`` and ``alive`` are for other threads to read.
    """

    def __init__(self, late: Callable[[float], None]) -> None:
        self._late = late
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.seen_at = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the loop has turned a moment ago."""
        return time.monotonic() - self.seen_at < PATIENCE_S

    def start(self) -> None:
        """Beat from now on."""
        self._due_at = time.monotonic()
        self._beat()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self.seen_at = time.monotonic()
        self._late(max(self.seen_at - self._due_at, 0.0))
        self._due_at = self.seen_at + BEAT_S
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
