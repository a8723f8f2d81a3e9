"""The clocks of host and service: the dates of envelopes, and the person told whose clock is wrong by how much."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from queueing.client import service_clock
from queueing.client.service_clock import MOST_ERROR_MS, TOLERATED_MS, WARNED_MS, ServiceClock
from queueing.errors import EnvelopeExpired, JobExpired, QueueUnavailable
from tests.support.fakes.queue_access import access_to
from tests.support.waiting import turn

TTL_MS = 4 * 3600 * 1000
SERVICE_MS = 1_800_000_000_123


@dataclass
class ClockSetup:
    """A host whose clock is ahead of Redis' by ``ahead_ms``; each TIME takes ``round_trip_ms``."""

    ahead_ms: int = 0
    round_trip_ms: int = 20
    fails: bool = False
    hangs: bool = False
    passed_ms: int = 0
    clock: ServiceClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ServiceClock(access_to(self), ttl_ms=TTL_MS, now_ms=self.host_ms)

    def host_ms(self) -> int:
        return SERVICE_MS + self.passed_ms + self.ahead_ms

    async def time(self) -> tuple[int, int]:
        """Redis' TIME; the answer is made in the middle of the round trip."""
        if self.fails:
            raise RedisConnectionError("gone")
        if self.hangs:
            await asyncio.Event().wait()
        self.passed_ms += self.round_trip_ms // 2
        now_ms = SERVICE_MS + self.passed_ms
        self.passed_ms += self.round_trip_ms // 2
        return now_ms // 1000, now_ms % 1000 * 1000


class NoDirectory:
    """An opening fetch that brings nothing."""

    async def prefetch(self) -> None:
        pass


@contextlib.asynccontextmanager
async def measuring(setup: ClockSetup) -> AsyncIterator[None]:
    running = asyncio.create_task(setup.clock.run(NoDirectory()))
    yield
    running.cancel()
    await asyncio.wait((running,))


@pytest.mark.parametrize("ahead_ms", [0, 90_000, -90_000, 5 * 3600 * 1000, -400 * 86_400_000])
async def test_the_difference_is_measured_at_half_the_round_trip(ahead_ms: int) -> None:
    """To the millisecond, where both ways take the same time."""
    setup = ClockSetup(ahead_ms)
    assert await setup.clock.measure()
    assert setup.clock.ahead_ms == ahead_ms


@pytest.mark.parametrize("ahead_ms", [TOLERATED_MS + 1, 90_000, TTL_MS // 2])
async def test_a_host_that_is_ahead_dates_its_envelopes_by_the_service(ahead_ms: int) -> None:
    """Else the lane refuses them as issued in the future, for good."""
    setup = ClockSetup(ahead_ms)
    await setup.clock.measure()
    assert setup.clock.envelope_ms() == SERVICE_MS + setup.passed_ms


@pytest.mark.parametrize("ahead_ms", [0, TOLERATED_MS, TTL_MS // 2 + 1, -90_000, -5 * 3600 * 1000])
async def test_the_time_of_redis_moves_no_date_forward_and_none_far_back(ahead_ms: int) -> None:
    """An attacker who controls Redis can neither keep an envelope for later nor take more than half of its life."""
    setup = ClockSetup(ahead_ms)
    await setup.clock.measure()
    assert setup.clock.envelope_ms() == setup.host_ms()


async def test_a_slow_answer_is_no_measurement() -> None:
    """The way there and the way back may differ by all of it."""
    setup = ClockSetup(90_000, round_trip_ms=2 * MOST_ERROR_MS + 2)
    assert not await setup.clock.measure()
    assert setup.clock.envelope_ms() == setup.host_ms()


@pytest.mark.parametrize("waits", ["first_measured", "measured_lately"])
async def test_no_call_waits_for_a_clock_that_is_closed(waits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a measurement ends at once when the client closes while Redis hangs."""
    monkeypatch.setattr(service_clock, "WAIT_S", 3600.0)
    setup = ClockSetup(hangs=True)
    async with measuring(setup):
        waiting = asyncio.create_task(getattr(setup.clock, waits)())
        await turn()
        assert not waiting.done()
    async with asyncio.timeout(10):
        await waiting


async def test_without_redis_the_hosts_clock_counts() -> None:
    """Errors are left to the calls that need Redis; an earlier measurement stays in use."""
    setup = ClockSetup(90_000, fails=True)
    assert not await setup.clock.measure()
    assert (setup.clock.ahead_ms, setup.clock.difference()) == (0, "")
    setup.fails = False
    await setup.clock.measure()
    setup.fails = True
    assert not await setup.clock.measure()
    assert setup.clock.ahead_ms == 90_000


@pytest.mark.parametrize(
    "ahead_ms, words",
    [
        (0, ""),
        (WARNED_MS, ""),
        (90_000, "this host's clock is 90 s ahead of Redis'"),
        (-5 * 3600 * 1000, "this host's clock is 5.0 h behind Redis'"),
        (600_000, "this host's clock is 10.0 min ahead of Redis'"),
        (10 * 86_400_000, "this host's clock is 10.0 d ahead of Redis'"),
    ],
)
async def test_the_person_is_told_whose_clock_is_wrong_by_how_much(
    ahead_ms: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each difference, and in the errors that come of it; without a difference here, it is the worker's host."""
    setup = ClockSetup(ahead_ms)
    for _ in range(3):
        await setup.clock.measure()
    assert setup.clock.difference() == words
    assert [record.getMessage().startswith(words) for record in caplog.records] == [True] * bool(words)
    told = setup.clock.explained(QueueUnavailable("the envelope was issued in the future"))
    assert isinstance(told, EnvelopeExpired)
    other = "this host's clock agrees with Redis', so that of the worker's host may be wrong"
    assert told.message == f"the envelope was issued in the future; {words or other}"


def test_without_a_measurement_no_clock_is_accused() -> None:
    """The message of the service stands alone."""
    setup = ClockSetup(90_000)
    assert setup.clock.explanation(EnvelopeExpired("issued in the future")) == "issued in the future"


@pytest.mark.parametrize(
    "ahead_ms, passed",
    [(-5 * 3600 * 1000, True), (-3 * 3600 * 1000, False), (-WARNED_MS, False), (0, False), (90_000, False)],
)
async def test_an_envelope_expires_on_its_way_only_where_this_host_is_behind_by_its_life(
    ahead_ms: int, passed: bool
) -> None:
    """Otherwise it is a lane's clock that is wrong, and the job is sent again."""
    setup = ClockSetup(ahead_ms)
    await setup.clock.measure()
    assert setup.clock.has_passed(setup.host_ms() + TTL_MS) == passed


async def test_a_job_that_is_sent_again_for_a_wrong_clock_is_reported_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Thousands of them at a time say the same."""
    setup = ClockSetup()
    await setup.clock.measure()
    for _ in range(1000):
        setup.clock.report(JobExpired("the envelope expired 3.0 h ago, by the clock of the worker's host"))
    (record,) = caplog.records
    assert "by the clock of the worker's host; this host's clock agrees with Redis'" in record.getMessage()


async def test_the_first_envelope_waits_for_the_first_measurement() -> None:
    """Later ones wait for nothing."""
    setup = ClockSetup(90_000)
    async with measuring(setup):
        await setup.clock.first_measured()
        assert setup.clock.ahead_ms == 90_000
        setup.hangs = True
        async with asyncio.timeout(10):
            await setup.clock.first_measured()


async def test_a_call_whose_deadline_has_passed_waits_for_no_measurement() -> None:
    """Its envelope is dated by this host's clock."""
    setup = ClockSetup(90_000)
    await setup.clock.first_measured(asyncio.get_running_loop().time() - 1.0)
    assert setup.clock.ahead_ms == 0


async def test_an_error_of_dates_is_explained_by_a_fresh_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock may have been stepped since the last one."""
    monkeypatch.setattr("queueing.client.service_clock.FRESH_S", 0.0)
    setup = ClockSetup(0)
    async with measuring(setup):
        await setup.clock.first_measured()
        setup.ahead_ms = 90_000
        await setup.clock.measured_lately()
        assert setup.clock.ahead_ms == 90_000


async def test_a_fresh_measurement_is_used_for_all_errors_of_its_second() -> None:
    """A thousand refused envelopes cost no thousand round trips."""
    setup = ClockSetup(0)
    async with measuring(setup):
        await setup.clock.first_measured()
        passed_ms = setup.passed_ms
        for _ in range(1000):
            await setup.clock.measured_lately()
        assert setup.passed_ms == passed_ms
