"""``[limits]`` of a tenant."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.config.toml import convert
from queueing.errors import ConfigError
from queueing.protocol.algorithms import Algorithm, KeyKind
from workers.config.settings import LimitsSettings
from workers.config.tenant_limits import limits_of


def test_without_a_table_only_the_backlog_is_capped() -> None:
    """A tenant without limits signs as fast as its tokens, and cannot fill Redis."""
    limits = limits_of(LimitsSettings(), [KeyKind.P256])
    assert not limits.claim.limited
    assert limits.claim.backlog_digests == limits.caps.backlog_digests == 2_000_000
    assert limits.caps.budget_digests == 0
    assert limits.weight == 1.0


def test_the_burst_is_a_second_of_the_rate() -> None:
    """Unless it is given."""
    assert limits_of(LimitsSettings(rate_per_s=50.0), []).claim.burst == 50.0
    assert limits_of(LimitsSettings(rate_per_s=50.0, burst=7.0), []).claim.burst == 7.0


def test_the_budget_holds_at_the_claim_and_at_the_submit() -> None:
    """So a client hears of it before its jobs wait for tomorrow."""
    limits = limits_of(LimitsSettings(digests_per_day=9), [])
    assert limits.claim.budget_digests == limits.caps.budget_digests == 9
    assert limits.claim.limited


def test_costs_are_those_of_the_tenants_keys() -> None:
    """Worst case per algorithm."""
    costs = limits_of(LimitsSettings(), [KeyKind.RSA_3072, KeyKind.ED25519]).claim.costs
    assert costs[Algorithm.RSASSA_PSS_SHA_512] == 3.0
    assert Algorithm.ECDSA_SHA_256 not in costs


@pytest.mark.parametrize(
    "bad", [{"rate_per_s": 0}, {"weight": 0}, {"weight": 101}, {"digests_per_day": 0}, {"rates": 1}]
)
def test_nonsense_is_a_mistake_of_the_file(bad: dict[str, object]) -> None:
    """Named, with its place."""
    with pytest.raises(ConfigError) as caught:
        convert(Path("acme.toml"), "limits", bad, LimitsSettings)
    assert caught.value.key == f"limits.{next(iter(bad))}"
