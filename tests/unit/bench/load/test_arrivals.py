"""Open-loop load: what is late is counted as late."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from bench.load.arrivals import OpenLoop, poisson_starts
from tests.support.waiting import turn

EVEN = [index / 10 for index in range(10)]  # seconds


class FakeTime:
    """A clock that only sleeping moves; others run before the sleeper wakes."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        until = self.now_s + seconds
        await turn(1)
        self.now_s = max(self.now_s, until)


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


def test_poisson_starts_repeat_by_seed() -> None:
    """The same seed gives the same schedule, another seed another."""
    first = list(poisson_starts(100.0, 5.0, seed=1))
    assert first == list(poisson_starts(100.0, 5.0, seed=1))
    assert first != list(poisson_starts(100.0, 5.0, seed=2))


def test_poisson_starts_have_the_rate_and_spread_of_a_poisson_process() -> None:
    """Mean distance 1/rate, standard deviation the same, all within the duration and in order."""
    starts = list(poisson_starts(1000.0, 50.0, seed=7))
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1e-3, rel=0.03)
    assert deviation == pytest.approx(1e-3, rel=0.05)
    assert min(gaps) >= 0
    assert max(starts) < 50.0


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_rate_is_positive(rate: float) -> None:
    """A schedule that never comes is refused."""
    with pytest.raises(ValueError, match="rate"):
        list(poisson_starts(rate, 1.0, seed=1))


async def test_latency_counts_from_the_scheduled_start(fake_time: FakeTime) -> None:
    """A stall of 1 s in one request is in the latency of those who came meanwhile."""

    async def request(index: int) -> None:
        if index == 0:
            fake_time.now_s += 1.0  # blocks the whole loop, as a stall of the service would

    loop = OpenLoop(request, clock=fake_time.clock, sleep=fake_time.sleep)
    result = await loop.run([0.0, 0.1, 0.2, 0.3])
    assert result.latency.count == 4
    assert result.latency.max_ms == pytest.approx(1000, rel=0.01)
    assert result.latency.p50_ms > 700  # a closed loop would say 0
    assert result.start_lag_max_ms == pytest.approx(900, rel=0.01)


async def test_requests_start_whether_or_not_earlier_ones_were_answered(fake_time: FakeTime) -> None:
    """All of them are under way at once when none is answered."""
    release = asyncio.Event()
    under_way = 0

    async def request(index: int) -> None:
        nonlocal under_way
        under_way += 1
        if index == 9:
            assert under_way == 10
            release.set()
        await release.wait()

    loop = OpenLoop(request, clock=fake_time.clock, sleep=fake_time.sleep)
    result = await loop.run(EVEN)
    assert (result.latency.count, result.failed) == (10, 0)


async def test_a_failed_request_is_counted_and_is_no_latency(fake_time: FakeTime) -> None:
    """A fast error must not make the percentiles look good."""

    async def request(index: int) -> None:
        if index % 2:
            raise RuntimeError("refused")

    loop = OpenLoop(request, clock=fake_time.clock, sleep=fake_time.sleep)
    result = await loop.run(EVEN)
    assert (result.failed, result.latency.count) == (5, 5)


async def test_too_many_unanswered_requests_end_the_run_openly(fake_time: FakeTime) -> None:
    """The generator never slows down in silence: it stops and says saturated."""
    release = asyncio.Event()

    async def request(_: int) -> None:
        await release.wait()

    loop = OpenLoop(request, outstanding_max=3, clock=fake_time.clock, sleep=fake_time.sleep)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(loop.run(EVEN))
        await turn(100)  # more of them than the whole schedule would take
        release.set()
    assert run.result().saturated
    assert run.result().latency.count == 3


async def test_an_empty_schedule_is_an_empty_result(fake_time: FakeTime) -> None:
    """Nothing asked, nothing divided by nothing."""

    async def request(_: int) -> None: ...

    result = await OpenLoop(request, clock=fake_time.clock, sleep=fake_time.sleep).run([])
    assert (result.latency.count, result.offered_per_s, result.saturated) == (0, 0.0, False)
