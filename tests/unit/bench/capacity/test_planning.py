"""Measured costs, and the part of a plan for which each is used."""

from __future__ import annotations

import pytest

from bench.capacity.model import Demand
from bench.capacity.planning import NotMeasured, costs_of, planned, verification_us
from bench.report.data import CpuSplit, Row, throughput_row
from queueing.protocol.algorithms import KeyKind


def row(scenario: str, kind: KeyKind, *, client: float, lane: float, digests_per_job: int = 64) -> Row:
    return throughput_row(
        scenario=scenario,
        algorithm="any",
        key_kind=str(kind),
        digests_per_job=digests_per_job,
        signatures_per_s=1000.0,
        module_ceiling_per_s=None,
        cpu=CpuSplit(client=client, redis=2.0, worker=3.0, lane=lane),
    )


NETWORK = row("simulated HSM, 1 ms in C_Sign, 64 sessions", KeyKind.P256, client=4.0, lane=30.0)
P256 = row("end to end", KeyKind.P256, client=4.0, lane=55.0)
RSA = row("verify-after-sign", KeyKind.RSA_3072, client=10.0, lane=2100.0)


def test_a_network_hsm_signs_outside_the_lane() -> None:
    """SoftHSM's own work is in the lane's CPU here and would not be with a device; the verification stays."""
    costs = costs_of([RSA, P256, NETWORK], KeyKind.RSA_3072)
    assert costs.client_us == 10.0
    assert 30.0 < costs.lane_us < 2000.0


def test_a_kind_that_was_not_measured_costs_what_p256_costs() -> None:
    """Client, Redis and worker hardly see what kind of key it is."""
    assert costs_of([RSA, P256, NETWORK], KeyKind.ED25519).client_us == 4.0


def test_only_rows_of_64_count() -> None:
    """At 256 to an envelope everything beside the lanes is cheaper than what users do."""
    with pytest.raises(NotMeasured, match="P256"):
        costs_of([row("end to end", KeyKind.P256, client=1.0, lane=1.0, digests_per_job=256)], KeyKind.P256)


def test_a_plan_is_made_of_rows_and_a_published_rate() -> None:
    """500 million P-256 signatures a day are 17,361 a second at the peak: dozens of Azure's partitions."""
    made = planned([P256, NETWORK], Demand(per_day=500e6, kind=KeyKind.P256))
    assert made.peak_per_s == pytest.approx(17_361, rel=0.001)
    assert made.hsms == 77
    assert made.worker_cores == 1


@pytest.mark.parametrize(
    "kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519, KeyKind.RSA_2048]
)
def test_every_kind_can_be_verified(kind: KeyKind) -> None:
    """The cost is measured, and it is some microseconds at least."""
    assert 1.0 < verification_us(kind) < 1e5
