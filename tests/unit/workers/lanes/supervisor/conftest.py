"""Token pools on a host of fake lanes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.clocks.fixed_random import FixedRandom
from tests.support.fakes.fake_lane import FakeClock, FakeHost
from tests.support.fakes.token_pools import (
    CALL_TIMEOUT_S,
    MakePool,
    NoRecorder,
    NoStopOrders,
    PoolSetup,
    RecordingCapacity,
    RecordingObserver,
)
from workers.config.settings import PinLogin, SelectSettings, TokenSettings, WorkerSettings
from workers.lanes.supervisor import connection, process_group
from workers.lanes.supervisor.process_group import LaneRecorder, LaneServices
from workers.lanes.supervisor.spawn import LaneSpec
from workers.lanes.supervisor.token_pool import TokenPool
from workers.state.refused_pins import RefusedPins


@pytest.fixture
def make_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePool:
    """Makes a token pool without jitter, and closes it at the end."""

    @asynccontextmanager
    async def make(
        *,
        most_lanes: int = 1,
        chunk_target_s: float = 0.02,
        idle_s: float = 300.0,
        poison_crashes: int = 3,
        recorder: LaneRecorder | None = None,
    ) -> AsyncIterator[PoolSetup]:
        host, clock = FakeHost(), FakeClock()
        observer, capacity = RecordingObserver(), RecordingCapacity()
        monkeypatch.setattr(process_group, "spawn_or_connect", host.spawn_or_connect)
        monkeypatch.setattr(connection, "time", clock)
        pin_file = tmp_path / "pin"
        pin_file.write_text("1234")
        settings = TokenSettings(
            module="/m.so",
            select=SelectSettings(label="acme"),
            login=PinLogin(pin_file=str(pin_file)),
            call_timeout_s=CALL_TIMEOUT_S,
        )
        pins = RefusedPins(tmp_path)
        async with asyncio.TaskGroup() as tasks:
            pool = capacity.pool = TokenPool(
                LaneSpec(file=tmp_path / "f", token="acme", tenant="acme", settings=settings, sessions=2),
                LaneServices(
                    tasks=tasks,
                    refused_pins=pins,
                    observer=observer,
                    recorder=recorder or NoRecorder(),
                    capacity_listener=capacity,
                    stop_orders=NoStopOrders(),
                    now_s=clock.monotonic,
                    randomness=FixedRandom(1.0),
                ),
                WorkerSettings(
                    chunk_target_s=chunk_target_s, lane_idle_s=idle_s, poison_attempts=poison_crashes
                ),
                most_lanes=most_lanes,
            )
            yield PoolSetup(pool, host, observer, capacity, clock, pins, pin_file)
            await pool.close(CALL_TIMEOUT_S)

    return make
