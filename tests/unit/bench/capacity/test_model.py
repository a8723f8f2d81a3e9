"""The capacity model and the table of published rates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity.hsm_rates import MODELS, HsmModel, HsmRate, Trust, hsm_rate
from bench.capacity.model import (
    SIGNATURE_BYTES,
    Costs,
    Demand,
    Headroom,
    in_words,
    kind_named,
    plan,
    result_bytes_per_signature,
    retention_bytes,
)
from queueing.protocol.algorithms import KeyKind

COSTS = Costs(client_us=5.0, redis_us=1.0, worker_us=4.0, lane_us=60.0)
FULL = Headroom(hsm_utilisation=1.0, core_utilisation=1.0, redis_utilisation=1.0, spare_hsms=0)


def rate(per_s: float) -> HsmRate:
    return HsmRate(model="test", per_s=per_s, trust=Trust.VENDOR, source="this test")


def test_a_plan_has_the_figures_that_were_computed_by_hand() -> None:
    """500 M a day, no peak, no headroom."""
    found = plan(Demand(per_day=500e6, kind=KeyKind.P256, peak_factor=1.0), COSTS, rate(1000.0), FULL)
    assert found.mean_per_s == pytest.approx(5787.04, rel=1e-5)
    assert found.hsms == 6
    assert found.worker_load_cores == pytest.approx(0.023148, rel=1e-4)
    assert found.worker_cores == 1
    assert found.lane_load_cores == pytest.approx(0.347222, rel=1e-4)
    assert found.redis_shards == 1
    assert found.jobs_per_s == pytest.approx(90.42, rel=1e-3)


def test_headroom_and_spares_are_added() -> None:
    """Devices are filled only so far, and one may fail."""
    room = Headroom(hsm_utilisation=0.5, spare_hsms=2)
    found = plan(Demand(per_day=86_400e3, kind=KeyKind.P256, peak_factor=1.0), COSTS, rate(100.0), room)
    assert found.hsms == 20 + 2


def test_a_whole_number_of_devices_is_not_rounded_up_by_noise() -> None:
    """3.0000000001 devices are 3."""
    found = plan(
        Demand(per_day=86_400 * 300, kind=KeyKind.P256, peak_factor=1.0), COSTS, rate(100.0 - 1e-9), FULL
    )
    assert found.hsms == 3


@given(
    per_day=st.floats(1.0, 1e11),
    peak=st.floats(1.0, 20.0),
    per_s=st.floats(1.0, 1e5),
    utilisation=st.floats(0.1, 1.0),
)
def test_a_plan_always_bears_its_peak(per_day: float, peak: float, per_s: float, utilisation: float) -> None:
    """For every request the planned devices and cores can do the peak within their utilisation."""
    room = Headroom(
        hsm_utilisation=utilisation,
        core_utilisation=utilisation,
        redis_utilisation=utilisation,
        spare_hsms=0,
    )
    found = plan(Demand(per_day=per_day, kind=KeyKind.RSA_3072, peak_factor=peak), COSTS, rate(per_s), room)
    close = 1 + 1e-6
    assert found.hsms * per_s * utilisation * close + 1e-6 >= found.peak_per_s
    for cores, load in (
        (found.worker_cores, found.worker_load_cores),
        (found.lane_cores, found.lane_load_cores),
        (found.redis_shards, found.redis_load_cores),
    ):
        assert cores * utilisation * close + 1e-6 >= load
        assert cores >= 1


@pytest.mark.parametrize(
    "demand",
    [
        Demand(per_day=0, kind=KeyKind.P256),
        Demand(per_day=1, kind=KeyKind.P256, peak_factor=0),
        Demand(per_day=1, kind=KeyKind.P256, digests_per_job=0),
    ],
)
def test_a_demand_for_nothing_is_refused(demand: Demand) -> None:
    """No plan is better than one that divides by zero."""
    with pytest.raises(ValueError, match="positive"):
        plan(demand, COSTS, rate(1.0))


def test_retention_keeps_the_peak_and_never_more_than_was_signed() -> None:
    """An hour holds an hour of peak; a day holds the day's signatures, not 24 peak hours."""
    demand = Demand(per_day=86_400e3, kind=KeyKind.RSA_2048, peak_factor=4.0, result_retention_s=3600.0)
    assert retention_bytes(demand, 100.0) == pytest.approx(4000 * 3600 * 100)
    whole_day = Demand(per_day=86_400e3, kind=KeyKind.RSA_2048, peak_factor=4.0, result_retention_s=86_400.0)
    assert retention_bytes(whole_day, 100.0) == pytest.approx(86_400e3 * 100)


def test_large_envelopes_share_what_a_result_costs() -> None:
    """One digest per job pays the whole overhead of a result."""
    single = result_bytes_per_signature(KeyKind.P256, 1)
    many = result_bytes_per_signature(KeyKind.P256, 256)
    assert single > 4 * many
    assert many > SIGNATURE_BYTES[KeyKind.P256]


@pytest.mark.parametrize(
    "kind, size", [("RSA_3072", 384), ("P256", 72), ("P384", 104), ("P521", 139), ("ED25519", 64)]
)
def test_a_signature_is_as_long_as_it_is_stored(kind: str, size: int) -> None:
    """The modulus (RFC 8017), DER at its longest (RFC 3279), and RFC 8032; each kind has one."""
    assert SIGNATURE_BYTES[KeyKind(kind)] == size
    assert set(SIGNATURE_BYTES) == set(KeyKind)


@pytest.mark.parametrize(
    "name,kind",
    [
        ("RSA_3072", KeyKind.RSA_3072),
        ("P256", KeyKind.P256),
        ("ECDSA_SHA_256", KeyKind.P256),
        ("ED25519", KeyKind.ED25519),
    ],
)
def test_a_kind_or_a_telling_algorithm_names_a_kind(name: str, kind: KeyKind) -> None:
    """An algorithm that fits one kind of key alone names that kind."""
    assert kind_named(name) is kind


@pytest.mark.parametrize("name", ["RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_512"])
def test_an_rsa_algorithm_does_not_tell_the_size(name: str) -> None:
    """The operator is asked for what decides the cost."""
    with pytest.raises(ValueError, match="RSA_3072"):
        kind_named(name)


def test_an_unknown_name_is_refused() -> None:
    """The message lists what is known."""
    with pytest.raises(ValueError, match="P384"):
        kind_named("DSA")


def test_every_model_says_where_its_rates_are_from() -> None:
    """No number without a source, no rate that is not positive."""
    for name, model in MODELS.items():
        assert name == model.name
        assert model.source
        assert model.per_s
        assert all(per_s > 0 and math.isfinite(per_s) for per_s in model.per_s.values())


def test_a_missing_rate_is_scaled_and_says_so() -> None:
    """RSA-3072 from RSA-2048 by the third power; the plan must not pass for the vendor's word."""
    model = HsmModel(name="m", per_s={KeyKind.RSA_2048: 3400.0}, trust=Trust.VENDOR, source="s")
    found = hsm_rate(model, KeyKind.RSA_3072)
    assert found.per_s == pytest.approx(1000.0)
    assert found.trust is Trust.ESTIMATED
    assert hsm_rate(model, KeyKind.RSA_2048).trust is Trust.VENDOR


@pytest.mark.parametrize("kind", [KeyKind.ED25519, KeyKind.P384])
def test_what_cannot_be_scaled_is_not_guessed(kind: KeyKind) -> None:
    """No rate of another family stands in."""
    model = HsmModel(name="m", per_s={KeyKind.RSA_2048: 3400.0}, trust=Trust.VENDOR, source="s")
    with pytest.raises(LookupError, match="no rate"):
        hsm_rate(model, kind)


def test_the_words_carry_trust_and_source() -> None:
    """A reader sees whose figure the number of HSMs rests on."""
    found = plan(Demand(per_day=1e6, kind=KeyKind.P256), COSTS, rate(100.0))
    assert any("vendor: this test" in line for line in in_words(found))
