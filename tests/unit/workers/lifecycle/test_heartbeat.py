"""Heartbeat of the event loop: read by other threads, exports its delay, ends with the loop."""

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


async def beat(heartbeat: Heartbeat) -> None:
    """Have the timer fire now."""
    timer = heartbeat._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() == pytest.approx(BEAT_S, abs=0.1)
    heartbeat.stop()
    heartbeat._beat()


async def test_a_loop_that_beats_is_alive(clock: FakeClock) -> None:
    """It counts as stuck ``PATIENCE_S`` after its last beat."""
    heartbeat = Heartbeat(Metrics(CollectorRegistry()))
    heartbeat.start()
    alive = []
    for later in (PATIENCE_S - 0.1, 0.1):
        clock.now += later
        alive.append(heartbeat.alive)
    await beat(heartbeat)
    alive.append(heartbeat.alive)
    assert alive == [True, False, True]
    heartbeat.stop()


async def test_the_delay_of_each_beat_is_exported(clock: FakeClock) -> None:
    """A beat in time has no delay."""
    registry = CollectorRegistry()
    heartbeat = Heartbeat(Metrics(registry))
    late: list[float | None] = []
    heartbeat.start()
    for delay_s in (0.0, 2.5):
        clock.now += BEAT_S + delay_s
        await beat(heartbeat)
        late.append(registry.get_sample_value("sigmill_event_loop_lag_seconds"))
    assert late == [0.0, 2.5]
    heartbeat.stop()
