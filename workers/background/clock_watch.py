"""Watch of two clocks: this host's and Redis'. A step of either, and a difference between them, are logged and measured.

Nothing is decided by it: leases go by Redis' clock, and dates of envelopes by that of the lanes' host.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.redis.errors import REDIS_ERRORS
from queueing.unix_time import HostClock

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from workers.telemetry.metrics import Metrics

log = logging.getLogger("sigmill.service")

INTERVAL_S: Final = 5.0
"""Time between two measurements: one TIME each."""

MOST_ROUND_TRIP_S: Final = 1.0
"""A measurement that took longer is none: the answer may be of its beginning or of its end."""

REPORTED_FROM_S: Final = 5.0
"""Above the errors of two measurements, below the 60 s that lanes tolerate in an envelope's dates."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """Clocks at one time, in seconds: this host's, its monotonic one, and the time by which it is ahead of Redis."""

    wall_s: float
    monotonic_s: float
    ahead_s: float


class ClockWatch:
    """Compares the clocks every few seconds. Errors of Redis are left to the parts that need it."""

    def __init__(self, redis: Redis, metrics: Metrics, host: HostClock | None = None) -> None:
        self._redis = redis
        self._metrics = metrics
        self._host = host or HostClock()
        self._last: _Reading | None = None
        self._reported_s = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.measure()
            await asyncio.sleep(INTERVAL_S)

    async def measure(self) -> None:
        """Measure now, in one round trip, and report what has changed."""
        began_s = self._host.monotonic_s()
        try:
            seconds, microseconds = await self._redis.time()
        except REDIS_ERRORS:
            return
        wall_s, now_s = self._host.wall_s(), self._host.monotonic_s()
        if now_s - began_s > MOST_ROUND_TRIP_S:
            return
        redis_s = seconds + microseconds / 1e6 + (now_s - began_s) / 2
        reading = _Reading(wall_s, now_s, wall_s - redis_s)
        self._metrics.clock_ahead_seconds.set(reading.ahead_s)
        if self._last is not None:
            _report_steps(self._last, reading)
        self._last = reading
        self._report_difference(reading.ahead_s)

    def _report_difference(self, ahead_s: float) -> None:
        """Log a difference once, again when it has changed as much, and its end."""
        differs = abs(ahead_s) >= REPORTED_FROM_S
        if differs and abs(ahead_s - self._reported_s) >= REPORTED_FROM_S:
            self._reported_s = ahead_s
            log.error("clock.differs", extra={"ahead_s": round(ahead_s)})
        elif not differs and self._reported_s:
            self._reported_s = 0.0
            log.info("clock.agrees")


def _report_steps(last: _Reading, now: _Reading) -> None:
    """Tell by the monotonic clock which of the two clocks was set, and by how much."""
    host_s = (now.wall_s - last.wall_s) - (now.monotonic_s - last.monotonic_s)
    redis_s = host_s - (now.ahead_s - last.ahead_s)
    for clock, by_s in (("host", host_s), ("redis", redis_s)):
        if abs(by_s) >= REPORTED_FROM_S:
            log.error("clock.stepped", extra={"clock": clock, "by_s": round(by_s)})
