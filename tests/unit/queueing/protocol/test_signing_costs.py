"""Costs of signatures, and the order of jobs by them."""

from __future__ import annotations

from queueing.broker.claims import ClaimRequest
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.limits import ClaimLimits, milli
from queueing.protocol.priorities import Priority, head_start_ms
from queueing.protocol.signing_costs import COST_OF, cost_where_unnamed, costs_by_algorithm


def test_every_kind_of_key_has_a_cost() -> None:
    """RSA-2048 is the unit."""
    assert set(COST_OF) == set(KeyKind)
    assert COST_OF[KeyKind.RSA_2048] == 1.0


def test_an_algorithm_costs_what_the_dearest_of_the_tenants_keys_does() -> None:
    """Its name does not tell the size of an RSA key."""
    costs = costs_by_algorithm([KeyKind.RSA_2048, KeyKind.RSA_4096, KeyKind.P256])
    assert costs[Algorithm.RSASSA_PSS_SHA_256] == COST_OF[KeyKind.RSA_4096]
    assert costs[Algorithm.ECDSA_SHA_256] == COST_OF[KeyKind.P256]
    assert Algorithm.ED25519 not in costs
    assert cost_where_unnamed(costs) == COST_OF[KeyKind.RSA_4096]


def test_without_a_key_the_dearest_of_all_counts() -> None:
    """The kind of key is not known."""
    assert cost_where_unnamed({}) == max(COST_OF.values())


def test_the_script_counts_in_whole_thousandths() -> None:
    """Rounded up, and not because of the binary form of a decimal fraction."""
    assert [milli(0.15), milli(1.0), milli(0.0001), milli(0.0)] == [150, 1000, 1, 0]


def test_a_claim_without_a_rate_names_no_costs() -> None:
    """They would be sent with every claim for nothing."""
    plain = ClaimRequest(
        tenant="acme", most_jobs=1, most_digests=2, limits=ClaimLimits(costs={"ED25519": 0.3})
    )
    assert plain.script_args() == (1, 2, *[0] * 13)


def test_a_release_comes_before_what_was_submitted_up_to_hours_before() -> None:
    """release > normal > nightly, and all within an envelope's life of four hours."""
    assert (
        head_start_ms(Priority.RELEASE)
        > head_start_ms(Priority.NORMAL)
        > head_start_ms(Priority.NIGHTLY)
        == 0
    )
    assert head_start_ms(Priority.RELEASE) < 4 * 3600 * 1000
