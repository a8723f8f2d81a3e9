"""Heartbeat of the event loop: tells whether the loop runs, and exports its delay."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from tests.support.fakes.fake_lane import FakeClock
from workers.lifecycle import heartbeat as module
from workers.lifecycle.heartbeat import BEAT_S, PATIENCE_S, Heartbeat
from workers.telemetry.metrics import Metrics


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(module, "time", fake)
    return fake


def loop_time_s() -> float:
    return asyncio.get_running_loop().time()


async def beat(heartbeat: Heartbeat, since_s: float) -> None:
    """Have the timer fire now, which was set after this time of the loop."""
    timer = heartbeat._timer
    assert timer is not None
    assert since_s + BEAT_S <= timer.when() <= loop_time_s() + BEAT_S
    heartbeat.stop()
    heartbeat._beat()


async def test_a_loop_that_beats_is_alive(clock: FakeClock) -> None:
    """It counts as stuck ``PATIENCE_S`` after its last beat."""
    heartbeat = Heartbeat(Metrics(CollectorRegistry()))
    began_s = loop_time_s()
    heartbeat.start()
    alive = []
    for later in (PATIENCE_S - 0.1, 0.1):
        clock.now += later
        alive.append(heartbeat.alive)
    await beat(heartbeat, began_s)
    alive.append(heartbeat.alive)
    assert alive == [True, False, True]
    heartbeat.stop()


async def test_the_delay_of_each_beat_is_exported(clock: FakeClock) -> None:
    """A beat in time has no delay."""
    registry = CollectorRegistry()
    heartbeat = Heartbeat(Metrics(registry))
    late: list[float | None] = []
    beat_s = loop_time_s()
    heartbeat.start()
    for delay_s in (0.0, 2.5):
        clock.now += BEAT_S + delay_s
        before_s, beat_s = beat_s, loop_time_s()
        await beat(heartbeat, before_s)
        late.append(registry.get_sample_value("sigmill_event_loop_lag_seconds"))
    assert late == [0.0, 2.5]
    heartbeat.stop()
