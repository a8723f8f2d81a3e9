"""Circuit breaker of a token: the length of its pauses, and what closes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from queueing.config.secrets import Secret
from tests.support.fakes.fake_lane import FakeClock
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.lanes.supervisor.circuit_breaker import (
    DOUBT_S,
    LONGEST_PAUSE_S,
    SHORTEST_PAUSE_S,
    Circuit,
    CircuitBreaker,
)
from workers.state.refused_pins import RefusedPins


class BreakerSetup:
    """A circuit breaker with its clock, the PIN's file, the changes that it reported, and no jitter."""

    chance = 1.0

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.pins = RefusedPins(folder)
        self.changes: list[Circuit] = []
        self.pin_file = folder / "pin"
        self.pin_file.write_text("1234")
        self.settings = TokenSettings(
            module="/m.so", select=SelectSettings(label="acme"), login=PinLogin(pin_file=str(self.pin_file))
        )
        self.breaker = CircuitBreaker(
            "acme",
            refused_pins=self.pins,
            listener=self,
            now_s=self.clock.monotonic,
            randomness=self,
        )

    def random(self) -> float:
        return self.chance

    def circuit_changed(self, token: str, circuit: Circuit) -> None:
        assert token == "acme"
        self.changes.append(circuit)

    def tick(self, after_s: float = 0.0) -> bool:
        self.clock.now += after_s
        return self.breaker.close_if_due(self.settings)

    def refuse(self) -> None:
        """A lane is started, and the token refuses its PIN."""
        self.breaker.lane_starting(self.settings)
        self.token_refuses()

    def token_refuses(self) -> None:
        self.pins.remember("acme", Secret("1234"))
        self.breaker.trip(Circuit.REFUSED)


@pytest.fixture
def setup(tmp_path: Path) -> BreakerSetup:
    return BreakerSetup(tmp_path)


def test_it_closes_once_when_the_pause_is_over(setup: BreakerSetup) -> None:
    """The call that closes it returns True, so that its caller reports free capacity; both changes are reported."""
    setup.breaker.trip(Circuit.OPEN)
    assert not setup.tick(SHORTEST_PAUSE_S - 0.01)
    assert setup.tick(0.02)
    assert not setup.tick(1)
    assert setup.changes == [Circuit.OPEN, Circuit.CLOSED]


def test_each_pause_is_twice_as_long_until_the_token_signs(setup: BreakerSetup) -> None:
    """Each pause is twice as long as the one before, up to the longest; a signature makes the next a short one."""
    pauses = []
    for _ in range(9):
        setup.breaker.trip(Circuit.OPEN)
        before = setup.clock.now
        while not setup.tick(SHORTEST_PAUSE_S):
            pass
        pauses.append(setup.clock.now - before)
    assert pauses == [min(SHORTEST_PAUSE_S * 2**i, LONGEST_PAUSE_S) for i in range(9)]
    setup.breaker.record_success()
    setup.breaker.trip(Circuit.OPEN)
    assert setup.tick(SHORTEST_PAUSE_S)


def test_after_a_login_that_may_still_run_the_pause_is_at_least_as_long_as_it_is_told(
    setup: BreakerSetup,
) -> None:
    """The token is in doubt for that pause, and then as long as after any other failure."""
    setup.breaker.trip(Circuit.OPEN, at_least_s=60.0)
    assert not setup.tick(59.9)
    assert setup.tick(0.2)
    setup.clock.now += DOUBT_S - 0.2
    in_doubt = [setup.breaker.in_doubt]
    setup.clock.now += 0.2
    assert [*in_doubt, setup.breaker.in_doubt] == [True, False]


def test_a_refused_pin_waits_for_its_operator(setup: BreakerSetup) -> None:
    """Time alone does not close it; it closes when the mark of the refused PIN is removed."""
    setup.refuse()
    assert not setup.tick(3600)
    setup.pins.forget("acme")
    assert setup.tick()


def test_a_host_started_lane_is_tried_again_after_a_pause(setup: BreakerSetup) -> None:
    """Its refused PINs are not readable here; it tries no PIN twice itself, and reports the refusal again."""
    setup.settings = replace(setup.settings, socket="/run/lane.sock", worker_uid=1)
    setup.breaker.trip(Circuit.REFUSED)
    assert not setup.tick(SHORTEST_PAUSE_S - 0.01)
    assert setup.tick(0.02)


def test_a_changed_pin_file_is_one_more_try(setup: BreakerSetup) -> None:
    """A PIN file that is missing or unchanged does not close it."""
    setup.refuse()
    assert not setup.tick()
    written = setup.pin_file.stat().st_mtime_ns
    os.utime(setup.pin_file, ns=(written, written + 1_000_000_000))
    assert setup.tick()
    setup.refuse()
    assert not setup.tick()
    setup.pin_file.unlink()
    assert not setup.tick()


def test_a_pin_file_that_changed_while_the_lane_logged_in_is_one_more_try(setup: BreakerSetup) -> None:
    """The refused PIN was read from the file before the change; the PIN that is refused next was read after it."""
    setup.breaker.lane_starting(setup.settings)
    written = setup.pin_file.stat().st_mtime_ns
    os.utime(setup.pin_file, ns=(written, written + 1_000_000_000))
    setup.token_refuses()
    assert setup.tick()
    setup.refuse()
    assert not setup.tick()


def test_a_new_configuration_closes_it(setup: BreakerSetup) -> None:
    """It closes from every state; one that is closed already reports no change."""
    setup.breaker.close()
    assert setup.changes == []
    setup.breaker.trip(Circuit.REFUSED)
    setup.breaker.close()
    assert setup.changes == [Circuit.REFUSED, Circuit.CLOSED]


@pytest.mark.parametrize("chance, shortened", [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_a_pause_is_shortened_by_up_to_half_at_random(
    setup: BreakerSetup, chance: float, shortened: float
) -> None:
    """Workers whose token failed at the same moment do not all try it again at the same moment."""
    setup.chance = chance
    setup.breaker.trip(Circuit.OPEN)
    assert not setup.tick(SHORTEST_PAUSE_S * shortened - 0.01)
    assert setup.tick(0.02)
