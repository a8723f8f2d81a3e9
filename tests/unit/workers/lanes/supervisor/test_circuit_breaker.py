"""A token in doubt: how long it is left alone, and what ends that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from queueing.config.secrets import Secret
from tests.support.fake_lane import FakeClock
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.lanes.supervisor.circuit_breaker import (
    LONGEST_PAUSE_S,
    SHORTEST_PAUSE_S,
    Circuit,
    CircuitBreaker,
)
from workers.state.refused_pins import RefusedPins


class Stand:
    """A circuit with its clock, its PIN's file, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.pins = RefusedPins(folder)
        self.told: list[Circuit] = []
        self.pin_file = folder / "pin"
        self.pin_file.write_text("1234")
        self.settings = TokenSettings(
            module="/m.so", select=SelectSettings(label="acme"), login=PinLogin(pin_file=str(self.pin_file))
        )
        self.circuit = CircuitBreaker(
            "acme", refused_pins=self.pins, changed=self.told.append, now_s=self.clock.monotonic
        )

    def look(self, after_s: float = 0.0) -> bool:
        self.clock.now += after_s
        return self.circuit.close_if_due(self.settings)

    def refuse(self) -> None:
        self.pins.remember("acme", Secret("1234"))
        self.circuit.trip(Circuit.REFUSED)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_it_closes_once_when_the_pause_is_over(stand: Stand) -> None:
    """And says so to the one who looks, who wakes those that wait for room."""
    stand.circuit.trip(Circuit.OPEN)
    assert not stand.look(SHORTEST_PAUSE_S - 0.01)
    assert stand.look(0.02)
    assert not stand.look(1)
    assert stand.told == [Circuit.OPEN, Circuit.CLOSED]


def test_each_pause_is_twice_as_long_until_the_token_signs(stand: Stand) -> None:
    """Up to the longest."""
    pauses = []
    for _ in range(9):
        stand.circuit.trip(Circuit.OPEN)
        before = stand.clock.now
        while not stand.look(SHORTEST_PAUSE_S):
            pass
        pauses.append(stand.clock.now - before)
    assert pauses == [min(SHORTEST_PAUSE_S * 2**i, LONGEST_PAUSE_S) for i in range(9)]
    stand.circuit.answered()
    stand.circuit.trip(Circuit.OPEN)
    assert stand.look(SHORTEST_PAUSE_S)


def test_a_refused_pin_waits_for_its_operator(stand: Stand) -> None:
    """Time alone does not close it; the mark that is gone does."""
    stand.refuse()
    assert not stand.look(3600)
    stand.pins.forget("acme")
    assert stand.look()


def test_a_lane_of_the_host_is_asked_again_after_a_pause(stand: Stand) -> None:
    """What it remembers is not here to see; it tries no PIN twice, and says so again."""
    stand.settings = replace(stand.settings, socket="/run/lane.sock", worker_uid=1)
    stand.circuit.trip(Circuit.REFUSED)
    assert not stand.look(SHORTEST_PAUSE_S - 0.01)
    assert stand.look(0.02)


def test_a_changed_file_is_one_more_try(stand: Stand) -> None:
    """A file that is gone or unchanged is none."""
    stand.refuse()
    assert not stand.look()
    written = stand.pin_file.stat().st_mtime_ns
    os.utime(stand.pin_file, ns=(written, written + 1_000_000_000))
    assert stand.look()
    stand.circuit.trip(Circuit.REFUSED)
    assert not stand.look()
    stand.pin_file.unlink()
    assert not stand.look()


def test_a_new_configuration_closes_it(stand: Stand) -> None:
    """Whatever was wrong; a circuit that is closed tells nobody."""
    stand.circuit.close()
    assert stand.told == []
    stand.circuit.trip(Circuit.REFUSED)
    stand.circuit.close()
    assert stand.told == [Circuit.REFUSED, Circuit.CLOSED]
