"""Sizes of the tenants by the minutes, and a device for each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity.hsm_rates import MODELS
from bench.capacity.planning import DEFAULT_MODEL
from bench.day.tenants import (
    DAYS_PER_MONTH,
    DIGESTS_PER_BUILD,
    Tier,
    in_words,
    sizes,
    tenants_of,
    tiers,
)
from queueing.protocol.algorithms import KeyKind


def test_a_thousand_tenants_have_the_sizes_of_the_minutes() -> None:
    """The largest signs 120 million a day, ninety 500,000 a month, nine hundred a thousand a month; all together 500 million a day."""
    found = sizes(1000, 500e6)
    assert sum(found) == pytest.approx(500e6)
    assert found[0] == pytest.approx(120e6, rel=1e-6)
    assert all(size > 10e6 for size in found[:10])
    assert [size * DAYS_PER_MONTH for size in found[10:100]] == pytest.approx([500_000] * 90)
    assert [size * DAYS_PER_MONTH for size in found[100:]] == pytest.approx([1000] * 900)


@given(count=st.integers(1, 3000), per_day=st.floats(1.0, 1e10))
def test_sizes_fall_with_the_rank_and_are_what_was_asked_for(count: int, per_day: float) -> None:
    found = sizes(count, per_day)
    assert len(found) == count
    assert found == sorted(found, reverse=True)
    assert sum(found) == pytest.approx(per_day)


@pytest.mark.parametrize("count,per_day", [(0, 1.0), (-1, 1.0), (10, 0.0), (10, -5.0)])
def test_nothing_cannot_be_shared_out(count: int, per_day: float) -> None:
    with pytest.raises(ValueError, match="there is a tenant at least"):
        sizes(count, per_day)


def test_one_in_a_hundred_is_an_enterprise_and_there_is_one_at_least() -> None:
    assert [tiers(1000).count(tier) for tier in Tier] == [10, 90, 900]
    assert tiers(1) == [Tier.ENTERPRISE]


def test_devices_bear_the_peak_at_seventy_per_cent() -> None:
    """Sessions and time of a signature are those devices together, at the published rate."""
    published = MODELS[DEFAULT_MODEL].per_s
    for tenant in tenants_of(1000, 500e6, model=DEFAULT_MODEL, peak_factor=3.0):
        peak_per_s = 3.0 * tenant.per_day / 86_400
        assert peak_per_s <= 0.7 * tenant.devices * published[tenant.kind]
        assert tenant.devices == 1 or peak_per_s > 0.7 * (tenant.devices - 1) * published[tenant.kind]
        device_per_s = tenant.sessions * 1e6 / tenant.sign_us
        assert device_per_s == pytest.approx(tenant.devices * published[tenant.kind], rel=1e-4)


def test_both_kinds_of_key_sign_much() -> None:
    """RSA-3072 and P-256 in turn by rank: neither has less than a third of all signatures."""
    tenants = tenants_of(1000, 500e6, model=DEFAULT_MODEL, peak_factor=3.0)
    for kind in (KeyKind.RSA_3072, KeyKind.P256):
        assert sum(tenant.per_day for tenant in tenants if tenant.kind is kind) > 500e6 / 3


def test_requests_and_digests_are_the_signatures_of_a_day() -> None:
    for tenant in tenants_of(1000, 500e6, model=DEFAULT_MODEL, peak_factor=3.0):
        assert tenant.digests_per_build == DIGESTS_PER_BUILD[tenant.tier]
        assert tenant.builds_per_s * tenant.digests_per_build * 86_400 == pytest.approx(tenant.per_day)


def test_names_are_unique_and_in_order() -> None:
    names = [tenant.name for tenant in tenants_of(1000, 500e6, model=DEFAULT_MODEL, peak_factor=3.0)]
    assert names == sorted(set(names))


def test_each_tier_is_said_in_a_line() -> None:
    lines = in_words(tenants_of(1000, 500e6, model=DEFAULT_MODEL, peak_factor=3.0))
    assert [line.split(":")[0] for line in lines] == [
        "10 x enterprise",
        "90 x large product",
        "900 x small product",
    ]
