"""Lane processes of one token on a host of fake lanes: started one at a time, reloaded, stopped and killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.clocks.fixed_random import FixedRandom
from tests.support.fakes.fake_lane import FakeClock, FakeHost, FakeLane
from tests.support.fakes.token_pools import CALL_TIMEOUT_S, NoRecorder, RecordingCapacity, RecordingObserver
from tests.support.waiting import turn
from workers.config.settings import SelectSettings, TokenSettings
from workers.lanes.protocol import Outcomes, Reload, Reloaded, Stop
from workers.lanes.supervisor import connection, process_group
from workers.lanes.supervisor.batching import Group, Slice
from workers.lanes.supervisor.circuit_breaker import CircuitBreaker
from workers.lanes.supervisor.connection import ChunkSent, LaneConnection, RequestAnswer
from workers.lanes.supervisor.lost_lane import Cause, ExitReason
from workers.lanes.supervisor.process_group import (
    RELOAD_TIMEOUT_S,
    SILENCE_GRACE_S,
    LaneProcesses,
    LaneServices,
)
from workers.lanes.supervisor.spawn import LaneSpec
from workers.state.refused_pins import RefusedPins

IDLE_S = 300.0
ORDER = b"signed order"


class OneStopOrder:
    """The same stop order for every tenant."""

    def signed_orders(self, tenant: str) -> tuple[bytes, ...]:
        assert tenant == "acme"
        return (ORDER,)


@dataclass
class Events:
    """The events of the lanes, in place of the pool."""

    unreachable: int = 0
    ready: list[LaneConnection] = field(default_factory=list)
    ended: list[ExitReason] = field(default_factory=list)

    def lane_unreachable(self) -> None:
        self.unreachable += 1

    def lane_ready(self, lane: LaneConnection) -> None:
        self.ready.append(lane)

    def lane_ended(self, lane: LaneConnection, end: ExitReason) -> None:
        self.ended.append(end)

    def chunk_answered(
        self, lane: LaneConnection, chunk: ChunkSent, answer: Outcomes, busy_s: float
    ) -> None: ...

    def request_answered(self, answer: RequestAnswer) -> None: ...


@dataclass
class GroupSetup:
    """Lane processes with their fake host, clock and events."""

    processes: LaneProcesses
    host: FakeHost
    clock: FakeClock
    events: Events

    async def start(self, *, ready: bool = True) -> None:
        """Start one more lane."""
        self.processes.start_one_more()
        await turn()
        if ready:
            self.host.lanes[-1].ready()
            await turn()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and end the lanes that are overdue by then."""
        self.clock.now += seconds
        self.processes.end_overdue(self.clock.now, IDLE_S)
        await turn()


@pytest.fixture
async def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GroupSetup]:
    """At most two lanes of the token acme; they are killed at the end."""
    async with group_of(tmp_path, monkeypatch, tenant="acme") as made:
        yield made


@asynccontextmanager
async def group_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, tenant: str | None
) -> AsyncIterator[GroupSetup]:
    host, clock, events = FakeHost(), FakeClock(), Events()
    monkeypatch.setattr(process_group, "spawn_or_connect", host.spawn_or_connect)
    monkeypatch.setattr(connection, "time", clock)
    settings = TokenSettings(
        module="/m.so", select=SelectSettings(label="acme"), login="none", call_timeout_s=CALL_TIMEOUT_S
    )
    observer, pins = RecordingObserver(), RefusedPins(folder)
    async with asyncio.TaskGroup() as tasks:
        services = LaneServices(
            tasks=tasks,
            refused_pins=pins,
            observer=observer,
            recorder=NoRecorder(),
            capacity_listener=RecordingCapacity(),
            stop_orders=OneStopOrder(),
            now_s=clock.monotonic,
            randomness=FixedRandom(1.0),
        )
        processes = LaneProcesses(
            LaneSpec(file=folder / "f", token="acme", tenant=tenant, settings=settings, sessions=2),
            services,
            most=2,
            listener=events,
            breaker=CircuitBreaker("acme", refused_pins=pins, listener=observer, now_s=clock.monotonic),
        )
        yield GroupSetup(processes, host, clock, events)
        processes.kill()


async def test_one_lane_is_started_at_a_time(setup: GroupSetup) -> None:
    """A second start is begun when the first lane has logged in, and none beyond the most lanes of the token."""
    await setup.start(ready=False)
    await setup.start(ready=False)
    assert len(setup.host.lanes) == 1
    assert not setup.processes.has_ready_lane
    setup.host.lanes[0].ready()
    await turn()
    await setup.start()
    await setup.start(ready=False)
    assert len(setup.host.lanes) == 2
    assert setup.processes.ready_lanes() == setup.events.ready


async def test_a_lane_that_cannot_be_started_is_reported_and_leaves_nothing(setup: GroupSetup) -> None:
    setup.host.refuse = True
    await setup.start(ready=False)
    assert setup.events.unreachable == 1
    assert setup.processes.empty
    assert setup.processes.count == 0


async def test_a_lane_gets_the_stop_orders_in_force_before_anything_else(setup: GroupSetup) -> None:
    """Its files are new; only the orders are not in them."""
    await setup.start()
    assert setup.host.lanes[0].sent == [Reload(1, False, (ORDER,))]


async def test_the_lane_of_the_service_gets_no_stop_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stop order is for the service's own token, which has no tenant."""
    async with group_of(tmp_path, monkeypatch, tenant=None) as setup:
        await setup.start()
        assert setup.host.lanes[0].sent == []


async def test_a_reload_during_the_start_of_a_lane_reaches_it(
    setup: GroupSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have read the files before they changed; a lane that starts after the reload reads the new ones."""
    gate = asyncio.Event()

    async def slow_spawn(spec: LaneSpec) -> FakeLane:
        await gate.wait()
        return await setup.host.spawn_or_connect(spec)

    monkeypatch.setattr(process_group, "spawn_or_connect", slow_spawn)
    await setup.start(ready=False)
    setup.processes.reload(RELOAD_TIMEOUT_S, files=True)
    gate.set()
    await turn()
    setup.host.lanes[0].ready()
    await turn()
    await setup.start()
    assert [lane.sent for lane in setup.host.lanes] == [
        [Reload(1, True, (ORDER,))],
        [Reload(1, False, (ORDER,))],
    ]


async def test_a_lane_that_does_not_answer_a_reload_is_killed_and_not_blamed(setup: GroupSetup) -> None:
    """The lane would sign what was revoked; it ends as a lane that was asked to."""
    await setup.start()
    assert setup.processes.reload_problems() is None
    await setup.pass_time(RELOAD_TIMEOUT_S + 0.1)
    assert setup.host.lanes[0].killed
    assert [end.cause for end in setup.events.ended] == [Cause.ASKED]


async def test_a_lane_that_owes_an_answer_and_is_silent_is_killed(setup: GroupSetup) -> None:
    """The lane ends itself after its call timeout; some seconds later the worker does it."""
    await setup.start()
    answer_reload(setup)
    await turn()
    setup.events.ready[0].send_chunk(Group("release", 1, "ECDSA_SHA_256"), list[Slice]())
    await setup.pass_time(CALL_TIMEOUT_S + SILENCE_GRACE_S)
    assert [lane.killed for lane in setup.host] == [False]
    await setup.pass_time(0.1)
    assert [lane.killed for lane in setup.host] == [True]
    assert [end.reason for end in setup.events.ended] == ["silent"]


async def test_an_idle_lane_is_told_to_stop(setup: GroupSetup) -> None:
    """It is told after the idle time and not before, and is not killed."""
    await setup.start()
    answer_reload(setup)
    await turn()
    await setup.pass_time(IDLE_S)
    assert setup.host.lanes[0].alive
    await setup.pass_time(0.1)
    assert setup.host.lanes[0].sent[-1] == Stop()
    assert not setup.host.lanes[0].killed


async def test_lanes_of_a_former_configuration_stop_and_the_next_ones_start_by_the_new_one(
    setup: GroupSetup,
) -> None:
    """The pause after a failed start is over with the old configuration."""
    await setup.start()
    setup.processes.postpone_start(at_least_s=60.0)
    postponed = setup.processes.start_postponed
    changed = replace(setup.processes.spec, sessions=4)
    setup.processes.change(changed, 1)
    await turn()
    assert setup.host.lanes[0].sent[-1] == Stop()
    assert (setup.processes.spec, setup.processes.most) == (changed, 1)
    assert (postponed, setup.processes.start_postponed) == (True, False)
    await setup.start()
    assert len(setup.host.lanes) == 2


async def test_a_close_stops_the_lanes_kills_those_that_are_left_and_starts_no_other(
    setup: GroupSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for them is at most the time that is given."""
    await setup.start()
    stubborn = setup.host.lanes[0]
    monkeypatch.setattr(stubborn, "take", stubborn.sent.append)
    await setup.processes.close(0.0)
    assert stubborn.sent[-1] == Stop()
    assert stubborn.killed
    await turn()
    assert setup.processes.empty
    await setup.start(ready=False)
    assert len(setup.host.lanes) == 1


def answer_reload(setup: GroupSetup) -> None:
    """Answer the reload that each lane of a tenant gets first."""
    for lane in setup.host.lanes:
        lane.say(Reloaded(1, 1, 1, ""))
