"""Clocks of worker hosts that were ahead and are corrected: a lane says so, and revives no expired
envelope.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.unix_time import unix_ms
from tests.support.clocks.stepped_clock import SteppedClock
from tests.support.farm.forging import Forger
from tests.support.rig.lane_handle import LaneHandle, spec_for
from tests.support.rig.rig import MakeRig, Rig
from workers.lanes.protocol import EnvelopeSlice
from workers.lanes.supervisor import spawn

HOUR_S = 3600
YEAR_S = 365 * 24 * HOUR_S


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    """Clock of the lanes; the time since the host's boot stays."""
    clock, plain = SteppedClock(tmp_path / "clock"), spawn._environment
    monkeypatch.setattr(spawn, "_environment", lambda settings: plain(settings) | clock.environment())
    return clock


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()


async def outcome(lane: LaneHandle, sealed: bytes) -> str:
    """'signed', or the code of the error."""
    (item,) = (await lane.sign([EnvelopeSlice(sealed, 0, 1)])).items
    if item.error is not None:
        return item.error.code
    assert all(item.signatures)
    return "signed"


async def test_a_clock_that_was_ahead_for_a_while_holds_up_nothing_once_it_is_right(
    rig: Rig, clock: SteppedClock
) -> None:
    """A step gives `clock.set_back`; after the correction the same lane and a new one sign."""
    forger = Forger(key=rig.keys["acme"])
    spec = spec_for(rig, "acme", sessions=1)
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, forger.seal()) == "signed"
        for step_s in (3 * HOUR_S, 3 * YEAR_S, -3 * YEAR_S):
            clock.set_ahead_s(step_s)
            assert await outcome(lane, forger.seal()) == "clock.set_back"
            clock.set_ahead_s(0)
            assert await outcome(lane, forger.seal()) == "signed"
        clock.set_ahead_s(3 * HOUR_S)
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, forger.seal()) == "clock.set_back"
    clock.set_ahead_s(0)
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, forger.seal()) == "signed"


async def test_envelopes_of_a_clock_that_was_ahead_from_the_start_are_left_to_other_hosts(
    rig: Rig, clock: SteppedClock
) -> None:
    """Once the clock is corrected the lane cannot tell that from a clock set back: it neither signs nor
    expires them.
    """
    forger = Forger(key=rig.keys["acme"])
    spec = spec_for(rig, "acme", sessions=1)
    clock.set_ahead_s(3 * HOUR_S)
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, forger.seal()) == "job.expired"
        clock.set_ahead_s(0)
        assert await outcome(lane, forger.seal()) == "clock.set_back"
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, forger.seal()) == "clock.set_back"
        past_ms = unix_ms() - 600_000
        expired = forger.seal(issued_at_ms=past_ms, expires_at_ms=past_ms + 60_000)
        assert await outcome(lane, expired) == "job.expired"


async def test_an_expired_envelope_is_not_revived_by_a_clock_that_is_set_back(
    rig: Rig, clock: SteppedClock
) -> None:
    """Neither by the lane that refused it, nor by the next one."""
    forger = Forger(key=rig.keys["acme"])
    past_ms = unix_ms() - 45 * 60_000
    expired = forger.seal(issued_at_ms=past_ms, expires_at_ms=past_ms + 15 * 60_000)
    spec = spec_for(rig, "acme", sessions=1)
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, expired) == "job.expired"
        clock.set_ahead_s(-40 * 60)
        assert await outcome(lane, expired) == "clock.set_back"
    async with LaneHandle(spec) as lane:
        assert await outcome(lane, expired) == "clock.set_back"
