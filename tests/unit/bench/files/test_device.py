"""SoftHSM is measured as Sigmill drives it; a simulated device has a rate, one lane, and more sessions than it works on at once."""

from __future__ import annotations

import pytest

from bench.capacity.hsm_rates import MODELS, hsm_rate
from bench.files.device import AT_ONCE, KIND, Device, sign_us


def test_softhsm_has_no_settings_of_the_bench() -> None:
    """Lanes and sessions are Sigmill's own choice."""
    assert (Device().name, Device().tenant.lanes, Device().tenant.sessions) == ("SoftHSM", None, None)


def test_a_simulated_device_is_one_lane_that_keeps_it_busy() -> None:
    """Slots are counted in each process, so a second lane would be a second device."""
    device = Device(hsm_rate(MODELS["azure-managed-hsm"], KIND))
    assert device.name == "a simulated azure-managed-hsm"
    assert device.tenant.lanes == 1
    assert (device.tenant.sessions or 0) > AT_ONCE


@pytest.mark.parametrize("per_s,us", [(340.0, 23529), (8.0, 1_000_000)])
def test_signatures_at_once_take_their_share_of_the_rate(per_s: float, us: int) -> None:
    """340/s by eight at once: each takes 23.5 ms."""
    assert sign_us(per_s) == us
