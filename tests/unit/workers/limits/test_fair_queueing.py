"""Weighted fair queueing over tenants, without a clock."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.limits.fair_queueing import FairShares

EVERYTHING = 1e9


class Weights(dict[str, float]):
    """Weights of tenants; 1 where none is given."""

    def weight(self, tenant: str) -> float:
        return self.get(tenant, 1.0)


def serve(shares: FairShares, wants: Mapping[str, float], budget: float, rounds: int) -> dict[str, float]:
    """Rounds in which every tenant takes all that it may."""
    served = dict.fromkeys(wants, 0.0)
    for _ in range(rounds):
        for tenant, share in shares.allot(wants, budget).items():
            shares.charge(tenant, share)
            served[tenant] += share
    return served


def jain(values: list[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(v * v for v in values))


def test_a_lone_tenant_gets_what_it_wants_up_to_the_budget() -> None:
    """Fair queueing costs nothing without other tenants."""
    shares = FairShares(Weights())
    assert shares.allot({"acme": 100.0}, 1000.0) == {"acme": 100.0}
    assert shares.allot({"acme": 5000.0}, 1000.0) == {"acme": pytest.approx(1000.0)}
    assert shares.allot({}, 1000.0) == {}


def test_a_hundredfold_offer_gets_no_more_than_its_share() -> None:
    """Jain's index over backlogged tenants of equal weight is 1, whatever each could start."""
    wants = {"loud": 100_000.0, **{f"t{i}": 1000.0 for i in range(9)}}
    served = serve(FairShares(Weights()), wants, 1000.0, rounds=100)
    assert jain(list(served.values())) >= 0.999


def test_what_the_small_do_not_want_the_others_share() -> None:
    """No unit of a round is left over while a tenant wants it."""
    allotted = FairShares(Weights()).allot({"small": 10.0, "a": EVERYTHING, "b": EVERYTHING}, 1000.0)
    assert allotted == {
        "small": pytest.approx(10.0),
        "a": pytest.approx(495.0),
        "b": pytest.approx(495.0),
    }


def test_weights_divide_the_budget() -> None:
    """Three times the weight gets three times the service."""
    shares = FairShares(Weights(heavy=3.0))
    served = serve(shares, {"heavy": EVERYTHING, "light": EVERYTHING}, 400.0, rounds=10)
    assert served["heavy"] == pytest.approx(3 * served["light"])


def test_a_tenant_that_was_idle_has_not_saved_up() -> None:
    """It starts level with the others: it gets at most one round more than they do."""
    shares = FairShares(Weights())
    serve(shares, {"busy": EVERYTHING}, 100.0, rounds=1000)
    served = serve(shares, {"busy": EVERYTHING, "back": EVERYTHING}, 100.0, rounds=20)
    assert served["back"] - served["busy"] <= 100.0 + 1e-6


def test_the_tenant_that_was_served_least_is_first() -> None:
    """The order of the answer is the order of service."""
    shares = FairShares(Weights())
    wants = {"a": 50.0, "b": 50.0}
    shares.allot(wants, 100.0)
    shares.charge("a", 50.0)
    assert list(shares.allot(wants, 20.0)) == ["b", "a"]
    assert shares.allot(wants, 20.0) == {"b": pytest.approx(20.0), "a": 0.0}


def test_thousands_of_tenants_that_come_and_go_are_forgotten() -> None:
    """Memory is bounded by the tenants that have work."""
    shares = FairShares(Weights())
    for i in range(5000):
        serve(shares, {f"t{i}": 10.0, "steady": 10.0}, 100.0, rounds=1)
    assert len(shares._served) < 200


@given(
    st.dictionaries(st.text(max_size=3), st.floats(0.01, 1e6), min_size=1, max_size=8),
    st.floats(1.0, 1e6),
    st.integers(1, 5),
)
def test_no_round_gives_more_than_wanted_or_than_there_is(
    wants: dict[str, float], budget: float, rounds: int
) -> None:
    """It gives all units of the round, or all that is wanted."""
    shares = FairShares(Weights({name: 1.0 + len(name) for name in wants}))
    for _ in range(rounds):
        allotted = shares.allot(wants, budget)
        assert all(0 <= allotted[t] <= wants[t] * (1 + 1e-9) for t in wants)
        total = sum(allotted.values())
        assert total == pytest.approx(min(budget, sum(wants.values())), rel=1e-6)
        for tenant, share in allotted.items():
            shares.charge(tenant, share)
