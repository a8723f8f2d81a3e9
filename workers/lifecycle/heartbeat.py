"""Liveness of the event loop, for ``/healthz``: independent of Redis, HSM and log."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.telemetry.metrics import Metrics

BEAT_S: Final = 0.5

PATIENCE_S: Final = 5.0
"""A loop without a beat for so long is stuck; a normal callback is a thousand times shorter."""


class Heartbeat:
    """Timer on the event loop; exports the delay of each beat. Any thread may read ``seen_at`` and ``alive``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.seen_at = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the loop beat within ``PATIENCE_S``."""
        return time.monotonic() - self.seen_at < PATIENCE_S

    def start(self) -> None:
        """Begin to beat on the running loop."""
        self._due_at = time.monotonic()
        self._beat()

    def stop(self) -> None:
        """Stop beating."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self.seen_at = time.monotonic()
        self._metrics.event_loop_lag_seconds.set(max(self.seen_at - self._due_at, 0.0))
        self._due_at = self.seen_at + BEAT_S
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
