"""Watch of the host's clock and Redis': a step and a difference are told with whose clock and by how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.unix_time import HostClock
from workers.background.clock_watch import MOST_ROUND_TRIP_S, REPORTED_FROM_S, ClockWatch
from workers.telemetry.metrics import Metrics

HOUR_S = 3600.0
YEAR_S = 365 * 86_400.0
START_S = 1_800_000_000.0


@dataclass
class ClockSetup(HostClock):
    """A host and a Redis with clocks of their own; each TIME takes ``round_trip_s``."""

    host_ahead_s: float = 0.0
    redis_ahead_s: float = 0.0
    round_trip_s: float = 0.01
    fails: bool = False
    passed_s: float = 0.0
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))
    watch: ClockWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = ClockWatch(cast("Redis", self), self.metrics, self)

    def wall_s(self) -> float:
        return START_S + self.passed_s + self.host_ahead_s

    def monotonic_s(self) -> float:
        return self.passed_s

    async def time(self) -> tuple[int, int]:
        """Redis' TIME; the answer is made in the middle of the round trip."""
        if self.fails:
            raise RedisConnectionError("gone")
        self.passed_s += self.round_trip_s / 2
        now_us = round((START_S + self.passed_s + self.redis_ahead_s) * 1e6)
        self.passed_s += self.round_trip_s / 2
        return divmod(now_us, 1_000_000)

    async def measure(self) -> None:
        self.passed_s += 5.0
        await self.watch.measure()

    @property
    def ahead_s(self) -> float:
        value: float = self.metrics.clock_ahead_seconds._value.get()
        return value


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    fields = ("clock", "by_s", "ahead_s")
    return [(r.getMessage(), *(vars(r)[name] for name in fields if name in vars(r))) for r in caplog.records]


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sigmill.service")


async def test_clocks_that_agree_are_measured_and_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A fifth of a second is a metric, and no line of the log."""
    setup = ClockSetup(host_ahead_s=0.2)
    for _ in range(3):
        await setup.measure()
    assert setup.ahead_s == pytest.approx(0.2, abs=1e-3)
    assert not told(caplog)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 3 * YEAR_S, -3 * YEAR_S])
async def test_a_step_of_this_host_is_told_as_such(step_s: float, caplog: pytest.LogCaptureFixture) -> None:
    """And the difference from then on, once; then the step back, and that the clocks agree."""
    setup = ClockSetup()
    await setup.measure()
    setup.host_ahead_s = step_s
    for _ in range(3):
        await setup.measure()
    assert told(caplog) == [("clock.stepped", "host", step_s), ("clock.differs", step_s)]
    assert setup.ahead_s == pytest.approx(step_s, abs=1e-3)
    caplog.clear()
    setup.host_ahead_s = 0.0
    for _ in range(3):
        await setup.measure()
    assert told(caplog) == [("clock.stepped", "host", -step_s), ("clock.agrees",)]


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 3 * YEAR_S, -3 * YEAR_S])
async def test_a_step_of_redis_is_told_as_such(step_s: float, caplog: pytest.LogCaptureFixture) -> None:
    """This host's monotonic clock shows that its own clock was not set."""
    setup = ClockSetup()
    await setup.measure()
    setup.redis_ahead_s = step_s
    await setup.measure()
    assert told(caplog) == [("clock.stepped", "redis", step_s), ("clock.differs", -step_s)]


async def test_a_difference_from_the_start_is_reported_without_a_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The worker did not run when a clock was set."""
    setup = ClockSetup(host_ahead_s=2 * REPORTED_FROM_S)
    await setup.measure()
    assert told(caplog) == [("clock.differs", 2 * REPORTED_FROM_S)]


@pytest.mark.parametrize("trouble", ["slow", "gone"])
async def test_a_measurement_without_an_answer_in_time_changes_nothing(
    trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next good one is compared with the last good one."""
    setup = ClockSetup()
    await setup.measure()
    setup.host_ahead_s = HOUR_S
    setup.fails = trouble == "gone"
    setup.round_trip_s = MOST_ROUND_TRIP_S * 1.1
    await setup.measure()
    assert not told(caplog)
    assert setup.ahead_s == pytest.approx(0.0, abs=1e-3)
    setup.fails, setup.round_trip_s = False, 0.01
    await setup.measure()
    assert told(caplog)[0] == ("clock.stepped", "host", HOUR_S)
