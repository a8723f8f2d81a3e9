"""Open-loop load: requests start when the schedule says, whether or not earlier ones were answered.

A closed loop (ask, wait, ask again) stops asking while the service stalls, and so never measures the stall
("coordinated omission"). Here each latency is counted from the scheduled start, so what a stall does to
those who came meanwhile is in the percentiles, and so is any delay of the generator itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

import msgspec

from bench.measurement.percentiles import LatencyRecorder, Percentiles

Request = Callable[[int], Awaitable[None]]


class OpenLoopResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``saturated``: it was cut short, because ``outstanding_max`` requests were unanswered.

    ``start_lag_max_ms`` is how late the generator itself was at worst; where that is near the percentiles,
    the generator was measured, not the service.
    """

    offered_per_s: float
    answered_per_s: float
    failed: int
    saturated: bool
    start_lag_max_ms: float
    latency: Percentiles


def poisson_starts(rate_per_s: float, duration_s: float, *, seed: int) -> Iterator[float]:
    """Start times in seconds from the beginning: independent arrivals at a mean rate, repeatable by seed."""
    if rate_per_s <= 0:
        raise ValueError("a rate is positive")
    generator = random.Random(seed)
    at_s = generator.expovariate(rate_per_s)
    while at_s < duration_s:
        yield at_s
        at_s += generator.expovariate(rate_per_s)


class OpenLoop:
    """Sends requests by a schedule and records what they took.

    A request that raises counts as failed, not as a latency; ``recorder`` may be shared by several loops.
    ``clock`` is monotonic seconds. The sleep of an event loop is true to about a millisecond; what it is late
    counts as latency.
    """

    def __init__(
        self,
        request: Request,
        *,
        recorder: LatencyRecorder | None = None,
        outstanding_max: int = 100_000,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.recorder = recorder or LatencyRecorder()
        self._request = request
        self._outstanding_max = outstanding_max
        self._clock = clock
        self._sleep = sleep
        self._outstanding = 0
        self._failed = 0

    async def run(self, starts: Iterable[float]) -> OpenLoopResult:
        """Send every request of the schedule, wait for all answers, and sum up."""
        began, sent, lag_max_s, last_start_s, saturated = self._clock(), 0, 0.0, 0.0, False
        async with asyncio.TaskGroup() as requests:
            for index, start_s in enumerate(starts):
                lag_s = await self._wait_for(began + start_s)
                if self._outstanding >= self._outstanding_max:
                    saturated = True
                    break
                lag_max_s, last_start_s, sent = max(lag_max_s, lag_s), start_s, index + 1
                self._outstanding += 1
                requests.create_task(self._send(index, began + start_s))
        elapsed_s = max(self._clock() - began, 1e-9)
        return OpenLoopResult(
            offered_per_s=sent / max(last_start_s, 1e-9) if sent > 1 else 0.0,
            answered_per_s=(sent - self._failed) / elapsed_s,
            failed=self._failed,
            saturated=saturated,
            start_lag_max_ms=1e3 * lag_max_s,
            latency=self.recorder.percentiles(),
        )

    async def _wait_for(self, scheduled: float) -> float:
        """Sleep until then; how late it is after that. Yields at least once, so answers can come in."""
        await self._sleep(max(0.0, scheduled - self._clock()))
        return max(0.0, self._clock() - scheduled)

    async def _send(self, index: int, scheduled: float) -> None:
        try:
            await self._request(index)
        except Exception:  # noqa: BLE001 - any failure is a failed request, and the load continues
            self._failed += 1
        else:
            self.recorder.record(max(0.0, self._clock() - scheduled))
        finally:
            self._outstanding -= 1
